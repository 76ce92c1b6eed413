"""Runs Twilio's official Python library against a simulator.

Reads one JSON object from standard input: url, account_sid, auth_token, callback {url, signature,
fields}, and the addresses of people. Prints one JSON line per check and ends with 1 when one
failed.
"""

import json
import sys
import time
from datetime import datetime, timedelta, timezone

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

GIVEN = json.load(sys.stdin)
SENDER, PERSON = GIVEN["sender"], GIVEN["person"]
SERVICE, TEMPLATE = "MG" + 32 * "1", "HX" + 32 * "1"
CHECKS = []


class ToSimulator(TwilioHttpClient):
    """Sends what is meant for Twilio to the simulator."""

    def request(self, method, url, *args, **kwargs):
        twilio = "https://api.twilio.com"
        assert url.startswith(twilio + "/2010-04-01/"), url
        return super().request(method, GIVEN["url"] + url[len(twilio) :], *args, **kwargs)


def client(token=GIVEN["auth_token"]):
    return Client(GIVEN["account_sid"], token, http_client=ToSimulator())


TWILIO = client()


def check(function):
    CHECKS.append(function)
    return function


def same(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def refused(status, code, function):
    try:
        function()
    except TwilioRestException as error:
        same((error.status, error.code), (status, code))
        assert error.msg
        return
    raise AssertionError("it was not refused")


def send(to=PERSON, **more):
    if "messaging_service_sid" not in more:
        more.setdefault("from_", SENDER)
    if "content_sid" not in more:
        more.setdefault("body", "Ola")
    return TWILIO.messages.create(to=to, **more)


def scheduled():
    at = datetime.now(timezone.utc) + timedelta(hours=1)
    return send(messaging_service_sid=SERVICE, schedule_type="fixed", send_at=at)


def finished(message, status):
    until = time.monotonic() + 20
    while message.status != status:
        assert time.monotonic() < until, f"{message.status} is not {status}"
        time.sleep(0.02)
        message = TWILIO.messages(message.sid).fetch()
    return message


@check
def create():
    message = send(status_callback="http://127.0.0.1:9/status?m=1#rc=0", validity_period=3600)
    assert message.sid.startswith("SM") and len(message.sid) == 34
    same(message.account_sid, GIVEN["account_sid"])
    same((message.to, message.from_, message.body), (PERSON, SENDER, "Ola"))
    same((message.status, message.direction), ("queued", "outbound-api"))
    same((message.num_segments, message.num_media), ("1", "0"))
    same((message.error_code, message.price, message.date_sent), (None, None, None))
    assert abs(message.date_created - datetime.now(timezone.utc)) < timedelta(minutes=1)
    same(message.uri, f"/2010-04-01/Accounts/{message.account_sid}/Messages/{message.sid}.json")


@check
def create_with_template_and_service():
    variables = json.dumps({"1": "Ana", "2": "amanhã"})
    message = send(
        messaging_service_sid=SERVICE, content_sid=TEMPLATE, content_variables=variables
    )
    same((message.status, message.from_), ("accepted", None))
    same((message.messaging_service_sid, message.num_segments), (SERVICE, "0"))
    same(message.body, "Ana amanhã")
    assert finished(message, "read").from_ is not None


@check
def fetch():
    message = finished(send(), "read")
    assert message.date_sent >= message.date_created
    assert message.date_updated >= message.date_sent
    same(message.error_code, None)


@check
def fetch_failed():
    message = finished(send(GIVEN["not_on_whatsapp"]), "failed")
    same(message.error_code, 63024)
    assert message.error_message


@check
def media():
    message = send(media_url=["https://example.com/a.jpg"])
    assert message.sid.startswith("MM")
    same(message.num_media, "1")
    items = TWILIO.messages(message.sid).media.list()
    same([item.parent_sid for item in items], [message.sid])
    assert items[0].sid.startswith("ME") and items[0].date_created


@check
def list_in_pages():
    to = GIVEN["many"]
    made = [send(to).sid for _ in range(7)][::-1]
    same([m.sid for m in TWILIO.messages.list(to=to, page_size=3)], made)
    same([m.sid for m in TWILIO.messages.list(to=to, limit=4)], made[:4])
    same([m.sid for m in TWILIO.messages.stream(to=to, from_=SENDER)], made)
    page = TWILIO.messages.page(to=to, page_size=3)
    second = page.next_page()
    same([m.sid for m in second], made[3:6])
    third = second.next_page()
    same([m.sid for m in third], made[6:])
    same(third.next_page(), None)
    same([m.sid for m in third.previous_page()], made[3:6])
    same(page.previous_page(), None)


@check
def list_by_date():
    message = finished(send(GIVEN["dated"]), "read")

    def found(**dates):
        return len(TWILIO.messages.list(to=GIVEN["dated"], **dates))

    sent, hour = message.date_sent, timedelta(hours=1)
    same(found(date_sent_after=sent - hour), 1)
    same(found(date_sent_after=sent + hour), 0)
    same(found(date_sent_before=sent + hour), 1)
    same(found(date_sent_before=sent - hour), 0)
    same(found(date_sent_after=sent, date_sent_before=sent), 1)
    same(found(date_sent=sent.date()), 1)
    same(found(date_sent=(sent + 24 * hour).date()), 0)


@check
def cancel():
    message = scheduled()
    same(message.status, "scheduled")
    same(TWILIO.messages(message.sid).update(status="canceled").status, "canceled")
    message = send()
    refused(409, 30409, lambda: TWILIO.messages(message.sid).update(status="canceled"))


@check
def redact():
    message = scheduled()
    refused(409, 20009, lambda: TWILIO.messages(message.sid).update(body=""))
    message = finished(send(), "read")
    same(TWILIO.messages(message.sid).update(body="").body, "")


@check
def delete():
    message = scheduled()
    refused(409, 20009, lambda: TWILIO.messages(message.sid).delete())
    message = finished(send(), "read")
    same(TWILIO.messages(message.sid).delete(), True)
    refused(404, 20404, lambda: TWILIO.messages(message.sid).fetch())


@check
def errors():
    refused(400, 21211, lambda: send("whatsapp:ana"))
    refused(400, 63007, lambda: send(from_="whatsapp:+551140000099"))
    refused(400, 21617, lambda: send(body=1601 * "a"))
    refused(400, 21619, lambda: send(body=""))
    refused(401, 20003, lambda: client("wrong").messages.create(to=PERSON, from_=SENDER, body="a"))
    refused(404, 20404, lambda: TWILIO.messages("SM" + 32 * "0").fetch())
    refused(429, 20429, lambda: send(GIVEN["too_many"]))
    refused(503, 20500, lambda: send(GIVEN["broken"]))


@check
def validate_callback():
    callback = GIVEN["callback"]
    url, fields, signature = callback["url"], callback["fields"], callback["signature"]
    validator = RequestValidator(GIVEN["auth_token"])
    same(validator.validate(url, fields, signature), True)
    altered = dict(fields, MessageStatus="failed")
    same(validator.validate(url, altered, signature), False)
    same(validator.validate(url + "&m=2", fields, signature), False)
    other = ("B" if signature[0] == "A" else "A") + signature[1:]
    same(validator.validate(url, fields, other), False)
    same(RequestValidator("another").validate(url, fields, signature), False)


def main():
    failed = 0
    for function in CHECKS:
        told = {"check": function.__name__, "ok": True}
        try:
            function()
        except Exception as error:  # pylint: disable=broad-except
            told.update(ok=False, why=f"{type(error).__name__}: {error}")
            failed += 1
        print(json.dumps(told), flush=True)
    sys.exit(1 if failed else 0)


main()
