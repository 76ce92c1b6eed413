//! How the webhook is told of what people write: with retries as its URL asks, late, or never.

use hyper::Method;
use serde_json::{Value, json};
use simulator::{Faults, Settings, TruthInbound, TruthWebhook, User};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::caller::{Answer, Caller, DEADLINE, PERSON, fast};
use crate::receiver::{NEVER, Receiver};

async fn start(url: &str) -> Caller {
    Caller::start(Settings {
        inbound_url: Some(url.to_owned()),
        ..fast()
    })
    .await
}

async fn write(caller: &Caller, message: &Value) -> Answer {
    let answer = caller.control(Method::POST, "inbound", message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

fn oi() -> Value {
    json!({ "from": PERSON, "body": "Oi" })
}

/// One message to a webhook that answers like this; returns the truth about it.
async fn told(fragment: &str, answers: &[u16]) -> TruthInbound {
    let receiver = Receiver::start().await;
    receiver.answer_with(answers);
    let caller = start(&receiver.url(&format!("/inbound{fragment}"))).await;
    let answer = write(&caller, &oi()).await;
    let truth = caller.sim.truth_of_inbound().pop().unwrap();
    assert_eq!(answer.field("sid"), truth.sid);
    let calls = receiver.calls();
    assert_eq!(calls.len(), truth.tries.len());
    for call in &calls {
        assert!(call.is_signed_with(caller.sim.auth_token()));
        assert_eq!(call.body, calls[0].body);
    }
    truth
}

fn answers(truth: &TruthInbound) -> Vec<Option<u16>> {
    truth.tries.iter().map(|one| one.answered).collect()
}

#[tokio::test]
async fn by_default_no_answer_is_asked_for_again() {
    for status in [500, 503, 404] {
        let truth = told("", &[status, 200]).await;
        assert_eq!(answers(&truth), [Some(status)]);
        assert_eq!(truth.webhook, TruthWebhook::GivenUp);
        assert_eq!(truth.body, "Oi");
    }
    let truth = told("", &[204]).await;
    assert_eq!(truth.webhook, TruthWebhook::Taken);
}

#[tokio::test]
async fn by_default_a_refused_connection_is_tried_once_more() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/inbound", nobody.local_addr().unwrap());
    drop(nobody);
    for (fragment, tries) in [("", 2), ("#rc=0", 1), ("#rc=2", 3), ("#rc=3&rp=5xx", 1)] {
        let caller = start(&format!("{url}{fragment}")).await;
        let answer = write(&caller, &oi()).await;
        assert_eq!(answer.json()["answered"], Value::Null);
        let truth = caller.get("/simulator/inbound").await.json();
        let message = &truth["inbound"][0];
        assert_eq!(message["webhook"], "given_up");
        let told = message["tries"].as_array().unwrap();
        assert_eq!(told.len(), tries, "{fragment}");
        for one in told {
            assert_eq!(one["failed"], "connect");
            assert_eq!(one["answered"], Value::Null);
        }
        assert_eq!(truth["next_cursor"], Value::Null);
    }
}

#[tokio::test]
async fn the_fragment_of_the_url_is_obeyed() {
    let truth = told("#rc=5&rp=5xx,ct,rt", &[503, 500, 503, 200]).await;
    assert_eq!(
        answers(&truth),
        [Some(503), Some(500), Some(503), Some(200)]
    );
    assert_eq!(truth.webhook, TruthWebhook::Taken);
    let truth = told("#rc=2&rp=4xx", &[404, 403, 404, 200]).await;
    assert_eq!(answers(&truth), [Some(404), Some(403), Some(404)]);
    assert_eq!(truth.webhook, TruthWebhook::GivenUp);
    let truth = told("#rc=3&rp=5xx", &[404, 200]).await;
    assert_eq!(answers(&truth), [Some(404)]);
    let truth = told("#rc=0&rp=all", &[500, 200]).await;
    assert_eq!(answers(&truth), [Some(500)]);
    let truth = told("#rt=300&rc=2&rp=rt", &[NEVER, 200]).await;
    assert_eq!(answers(&truth), [None, Some(200)]);
    assert_eq!(truth.tries[0].failed, Some("read"));
    let truth = told("#rt=300&rc=2&rp=ct", &[NEVER, 200]).await;
    assert_eq!(answers(&truth), [None]);
}

#[tokio::test]
async fn all_tries_together_have_one_limit() {
    let truth = told("#rc=5&rp=all&tt=700", &[500; 9]).await;
    assert!((2..=4).contains(&truth.tries.len()), "{:?}", truth.tries);
    assert_eq!(truth.webhook, TruthWebhook::GivenUp);
}

/// A server whose queue of connections is full takes no more: connecting gets no answer.
#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    loop {
        let connect = TcpStream::connect(address);
        match tokio::time::timeout(std::time::Duration::from_millis(300), connect).await {
            Ok(stream) => queue.push(stream.unwrap()),
            Err(_) => break,
        }
        assert!(queue.len() < 100, "the queue is never full");
    }
    let caller = start(&format!("http://{address}/inbound#ct=150&rc=1")).await;
    write(&caller, &oi()).await;
    let truth = caller.sim.truth_of_inbound().pop().unwrap();
    let failed: Vec<_> = truth.tries.iter().map(|one| one.failed).collect();
    assert_eq!(failed, [Some("connect"), Some("connect")]);
    // The same for status callbacks: two tries, where reading would be asked for once.
    let url = format!("http://{address}/status#ct=150&rc=1");
    caller.text(PERSON, Some(&url)).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(truth[0].statuses[0].callback.tries, 2);
}

#[tokio::test]
async fn late_messages_come_after_newer_ones() {
    let receiver = Receiver::start().await;
    let caller = start(&receiver.url("/inbound")).await;
    // Half a second at a thousand times the speed.
    let late = json!({
        "from": PERSON, "body": "SAIR", "written_ms_ago": 60_000, "late_ms": 500_000,
    });
    let first = write(&caller, &late).await;
    assert_eq!(first.json()["answered"], Value::Null);
    assert_eq!(caller.sim.pending(), 1);
    let pending = caller.sim.truth_of_inbound().pop().unwrap();
    assert_eq!(pending.webhook, TruthWebhook::Pending);
    write(&caller, &json!({ "from": PERSON, "body": "VOLTAR" })).await;
    let calls = receiver.wait_for(2).await;
    let bodies: Vec<_> = calls.iter().map(|call| call.field("Body")).collect();
    assert_eq!(bodies, [Some("VOLTAR"), Some("SAIR")]);
    caller.quiet().await;
    let truth = caller.sim.truth_of_inbound();
    assert!(
        truth
            .iter()
            .all(|message| message.webhook == TruthWebhook::Taken)
    );
    assert_eq!(truth[0].body, "SAIR");
}

#[tokio::test]
async fn messages_can_be_lost_late_and_doubled() {
    let receiver = Receiver::start().await;
    let caller = start(&receiver.url("/inbound")).await;
    caller.sim.set_faults(Faults {
        inbound_lost: 1.0,
        ..Faults::default()
    });
    let lost = write(&caller, &oi()).await.field("sid");
    assert_eq!(caller.sim.truth_of_inbound()[0].webhook, TruthWebhook::Lost);
    assert!(receiver.calls().is_empty());
    assert_eq!(caller.fetch(&lost).await.status, 200);
    caller.sim.set_faults(Faults {
        inbound_late: 1.0,
        inbound_late_ms: 1_000.0,
        inbound_doubled: 1.0,
        ..Faults::default()
    });
    let late = write(&caller, &oi()).await;
    assert_eq!(late.json()["answered"], Value::Null);
    let calls = receiver.wait_for(2).await;
    tokio::time::timeout(DEADLINE, caller.sim.quiet())
        .await
        .unwrap();
    assert_eq!(receiver.calls().len(), 2);
    for call in calls {
        assert_eq!(call.field("MessageSid"), Some(late.field("sid").as_str()));
    }
    assert_eq!(caller.sim.truth_of_inbound()[1].tries.len(), 2);
}

#[tokio::test]
async fn the_truth_comes_in_pages() {
    let receiver = Receiver::start().await;
    let caller = start(&receiver.url("/inbound")).await;
    for _ in 0..5 {
        write(&caller, &oi()).await;
    }
    let page = caller.get("/simulator/inbound?cursor=1&limit=3").await;
    let page = page.json();
    assert_eq!(page["inbound"].as_array().unwrap().len(), 3);
    assert_eq!(page["next_cursor"], 4);
    let page = caller.get("/simulator/inbound?cursor=4").await.json();
    assert_eq!(page["inbound"].as_array().unwrap().len(), 1);
    assert_eq!(page["next_cursor"], Value::Null);
    caller.control(Method::POST, "reset", &json!(null)).await;
    assert!(caller.sim.truth_of_inbound().is_empty());
}

#[tokio::test]
async fn people_with_user_ids_are_told_by_them() {
    let receiver = Receiver::start().await;
    let caller = start(&receiver.url("/inbound")).await;
    let users =
        json!([{ "number": "+5511900000001", "user_id": "BR.1", "parent_user_id": "BR.ENT.1" }]);
    let set = caller.control(Method::PUT, "users", &users).await;
    assert_eq!(set.status, 204, "{}", set.text);
    write(&caller, &oi()).await;
    let call = receiver.calls().pop().unwrap();
    assert_eq!(call.field("From"), Some(PERSON));
    assert_eq!(call.field("WaId"), Some("5511900000001"));
    assert_eq!(call.field("ExternalUserId"), Some("whatsapp:BR.1"));
    assert_eq!(
        call.field("ParentExternalUserId"),
        Some("whatsapp:BR.ENT.1")
    );
    let status = receiver.url("/status");
    caller.text(PERSON, Some(&status)).await.sid();
    caller.quiet().await;
    let call = receiver.calls().pop().unwrap();
    assert_eq!(call.field("MessageStatus"), Some("read"));
    assert_eq!(call.field("ExternalUserId"), Some("whatsapp:BR.1"));
    // Hidden, the number is nowhere, and the id reaches the same phone.
    caller.sim.set_users(vec![User {
        number: "+5511900000001".to_owned(),
        user_id: "BR.1".to_owned(),
        parent_user_id: None,
        hides_number: true,
    }]);
    write(&caller, &oi()).await;
    let call = receiver.calls().pop().unwrap();
    assert_eq!(call.field("From"), Some("whatsapp:BR.1"));
    assert_eq!(call.field("WaId"), None);
    assert!(!call.body.contains("5511900000001"), "{}", call.body);
    caller.text("whatsapp:BR.1", None).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(truth.last().unwrap().statuses.len(), 3, "it reads at once");
    // Somebody else has none.
    write(&caller, &json!({ "from": "+5511900000002" })).await;
    let call = receiver.calls().pop().unwrap();
    assert_eq!(call.field("ExternalUserId"), None);
}
