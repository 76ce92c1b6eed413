// Runs Twilio's official Node library against a simulator.
//
// Reads one JSON object from standard input: url, account_sid, auth_token, callback {url,
// signature, fields}, and the addresses of people. Prints one JSON line per check and ends with 1
// when one failed. The library is looked for under NODE_PATH.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const twilio = require("twilio");

const GIVEN = JSON.parse(fs.readFileSync(0, "utf8"));
const { sender: SENDER, person: PERSON } = GIVEN;
const SERVICE = "MG" + "1".repeat(32);
const TEMPLATE = "HX" + "1".repeat(32);
const HOUR = 3600 * 1000;

// Sends what is meant for Twilio to the simulator.
class ToSimulator extends twilio.RequestClient {
  request(options) {
    const address = "https://api.twilio.com";
    assert.ok(options.uri.startsWith(address + "/2010-04-01/"), options.uri);
    return super.request({ ...options, uri: GIVEN.url + options.uri.slice(address.length) });
  }
}

function client(token = GIVEN.auth_token) {
  return new twilio.Twilio(GIVEN.account_sid, token, { httpClient: new ToSimulator() });
}

const CLIENT = client();

async function refused(status, code, promise) {
  const error = await promise.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  assert.ok(error instanceof twilio.RestException, `${error}`);
  assert.deepEqual([error.status, error.code], [status, code]);
  assert.ok(error.message);
  if (code !== 20003) {
    assert.equal(error.moreInfo, `https://www.twilio.com/docs/errors/${code}`);
  }
}

function send(to = PERSON, more = {}) {
  const form = { to, ...more };
  if (!("messagingServiceSid" in more)) form.from ??= SENDER;
  if (!("contentSid" in more)) form.body ??= "Ola";
  return CLIENT.messages.create(form);
}

function scheduled() {
  const sendAt = new Date(Date.now() + HOUR);
  return send(PERSON, { messagingServiceSid: SERVICE, scheduleType: "fixed", sendAt });
}

async function finished(message, status) {
  const until = Date.now() + 20_000;
  while (message.status !== status) {
    assert.ok(Date.now() < until, `${message.status} is not ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    message = await CLIENT.messages(message.sid).fetch();
  }
  return message;
}

const sids = (messages) => messages.map((message) => message.sid);

const CHECKS = {
  async create() {
    const statusCallback = "http://127.0.0.1:9/status?m=1#rc=0";
    const message = await send(PERSON, { statusCallback, validityPeriod: 3600 });
    assert.match(message.sid, /^SM[0-9a-f]{32}$/);
    assert.equal(message.accountSid, GIVEN.account_sid);
    assert.deepEqual([message.to, message.from, message.body], [PERSON, SENDER, "Ola"]);
    assert.deepEqual([message.status, message.direction], ["queued", "outbound-api"]);
    assert.deepEqual([message.numSegments, message.numMedia], ["1", "0"]);
    assert.deepEqual([message.errorCode, message.price, message.dateSent], [null, null, null]);
    assert.ok(Math.abs(message.dateCreated.getTime() - Date.now()) < 60_000);
    const uri = `/2010-04-01/Accounts/${message.accountSid}/Messages/${message.sid}.json`;
    assert.equal(message.uri, uri);
  },

  async create_with_template_and_service() {
    const message = await send(PERSON, {
      messagingServiceSid: SERVICE,
      contentSid: TEMPLATE,
      contentVariables: JSON.stringify({ 1: "Ana", 2: "amanhã" }),
    });
    assert.deepEqual([message.status, message.from], ["accepted", null]);
    assert.deepEqual([message.messagingServiceSid, message.numSegments], [SERVICE, "0"]);
    assert.equal(message.body, "Ana amanhã");
    assert.notEqual((await finished(message, "read")).from, null);
  },

  async fetch() {
    const message = await finished(await send(), "read");
    assert.ok(message.dateSent >= message.dateCreated);
    assert.ok(message.dateUpdated >= message.dateSent);
    assert.equal(message.errorCode, null);
  },

  async fetch_failed() {
    const message = await finished(await send(GIVEN.not_on_whatsapp), "failed");
    assert.equal(message.errorCode, 63024);
    assert.ok(message.errorMessage);
  },

  async media() {
    const message = await send(PERSON, { mediaUrl: ["https://example.com/a.jpg"] });
    assert.match(message.sid, /^MM/);
    assert.equal(message.numMedia, "1");
    const items = await CLIENT.messages(message.sid).media.list();
    assert.deepEqual(items.map((item) => item.parentSid), [message.sid]);
    assert.match(items[0].sid, /^ME/);
    assert.ok(items[0].dateCreated instanceof Date);
  },

  async list_in_pages() {
    const to = GIVEN.many;
    const made = [];
    for (let count = 0; count < 7; count++) made.unshift((await send(to)).sid);
    const { messages } = CLIENT;
    assert.deepEqual(sids(await messages.list({ to, pageSize: 3 })), made);
    assert.deepEqual(sids(await messages.list({ to, limit: 4 })), made.slice(0, 4));
    const each = [];
    await new Promise((resolve, reject) => {
      const done = (error) => (error ? reject(error) : resolve());
      const callback = (message) => each.push(message.sid);
      messages.each({ to, from: SENDER, pageSize: 2, callback, done });
    });
    assert.deepEqual(each, made);
    const page = await messages.page({ to, pageSize: 3 });
    const second = await page.nextPage();
    assert.deepEqual(sids(second.instances), made.slice(3, 6));
    const third = await second.nextPage();
    assert.deepEqual(sids(third.instances), made.slice(6));
    assert.equal(third.nextPage(), undefined);
    assert.deepEqual(sids((await third.previousPage()).instances), made.slice(3, 6));
    assert.equal(page.previousPage(), undefined);
  },

  async list_by_date() {
    const message = await finished(await send(GIVEN.dated), "read");
    const found = async (dates) =>
      (await CLIENT.messages.list({ to: GIVEN.dated, ...dates })).length;
    const sent = message.dateSent;
    const later = (time) => new Date(sent.getTime() + time);
    assert.equal(await found({ dateSentAfter: later(-HOUR) }), 1);
    assert.equal(await found({ dateSentAfter: later(HOUR) }), 0);
    assert.equal(await found({ dateSentBefore: later(HOUR) }), 1);
    assert.equal(await found({ dateSentBefore: later(-HOUR) }), 0);
    assert.equal(await found({ dateSentAfter: sent, dateSentBefore: sent }), 1);
    assert.equal(await found({ dateSent: sent }), 1);
    assert.equal(await found({ dateSent: later(24 * HOUR) }), 0);
  },

  async cancel() {
    let message = await scheduled();
    assert.equal(message.status, "scheduled");
    message = await CLIENT.messages(message.sid).update({ status: "canceled" });
    assert.equal(message.status, "canceled");
    message = await send();
    await refused(409, 30409, CLIENT.messages(message.sid).update({ status: "canceled" }));
  },

  async redact() {
    let message = await scheduled();
    await refused(409, 20009, CLIENT.messages(message.sid).update({ body: "" }));
    message = await finished(await send(), "read");
    assert.equal((await CLIENT.messages(message.sid).update({ body: "" })).body, "");
  },

  async delete() {
    let message = await scheduled();
    await refused(409, 20009, CLIENT.messages(message.sid).remove());
    message = await finished(await send(), "read");
    assert.equal(await CLIENT.messages(message.sid).remove(), true);
    await refused(404, 20404, CLIENT.messages(message.sid).fetch());
  },

  async errors() {
    await refused(400, 21211, send("whatsapp:ana"));
    await refused(400, 63007, send(PERSON, { from: "whatsapp:+551140000099" }));
    await refused(400, 21617, send(PERSON, { body: "a".repeat(1601) }));
    await refused(400, 21619, send(PERSON, { body: "" }));
    const form = { to: PERSON, from: SENDER, body: "a" };
    await refused(401, 20003, client("wrong").messages.create(form));
    await refused(404, 20404, CLIENT.messages("SM" + "0".repeat(32)).fetch());
    await refused(429, 20429, send(GIVEN.too_many));
    await refused(503, 20500, send(GIVEN.broken));
  },

  async validate_callback() {
    const { url, fields, signature } = GIVEN.callback;
    const valid = (token, signature, url, fields) =>
      twilio.validateRequest(token, signature, url, fields);
    const token = GIVEN.auth_token;
    assert.equal(valid(token, signature, url, fields), true);
    assert.equal(valid(token, signature, url, { ...fields, MessageStatus: "failed" }), false);
    assert.equal(valid(token, signature, url + "&m=2", fields), false);
    const other = (signature[0] === "A" ? "B" : "A") + signature.slice(1);
    assert.equal(valid(token, other, url, fields), false);
    assert.equal(valid("another", signature, url, fields), false);
  },
};

async function main() {
  let failed = 0;
  for (const [check, run] of Object.entries(CHECKS)) {
    try {
      await run();
      console.log(JSON.stringify({ check, ok: true }));
    } catch (error) {
      failed += 1;
      console.log(JSON.stringify({ check, ok: false, why: `${error.stack}` }));
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
