// The CloudEvents SDK for JavaScript, for test_cloudevents.py.
//
//   node main.js send structured|binary URL   posts events of standard input; prints the answers
//   node main.js read                         messages of standard input, as the SDK reads them
//
// Events are described as in cloud_events.py. The SDK leaves the percent-encoding of headers to its
// caller, in both directions.
"use strict";
const fs = require("fs");
const http = require("http");
const { CloudEvent, HTTP } = require("cloudevents");

// Section 3.1.3.2 of the HTTP binding.
function encode(value) {
  if (typeof value !== "string") return value;
  const bytes = Array.from(Buffer.from(value, "utf8"));
  return bytes
    .map((b) =>
      b > 0x20 && b < 0x7f && b !== 0x22 && b !== 0x25
        ? String.fromCharCode(b)
        : "%" + b.toString(16).toUpperCase().padStart(2, "0")
    )
    .join("");
}

function eventOf({ attributes, extensions, data }, header) {
  const members = {};
  for (const [name, value] of Object.entries({ ...attributes, ...extensions }))
    members[name] = name === "datacontenttype" ? value : header(value);
  if (data.json !== undefined) members.data = data.json;
  if (data.text !== undefined) members.data = data.text;
  if (data.base64 !== undefined) members.data = Uint8Array.from(Buffer.from(data.base64, "base64"));
  return new CloudEvent(members);
}

function post(message, url) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers: message.headers }, (reply) => {
      let body = "";
      reply.on("data", (chunk) => (body += chunk));
      reply.on("end", () => resolve({ status: reply.statusCode, body }));
    });
    request.on("error", reject);
    const body = message.body === undefined ? Buffer.alloc(0) : Buffer.from(message.body);
    request.setHeader("Content-Length", body.length);
    request.end(body);
  });
}

async function send(events, mode, url) {
  const answers = [];
  for (const event of events) {
    const message =
      mode === "binary"
        ? HTTP.binary(eventOf(event, encode))
        : HTTP.structured(eventOf(event, (value) => value));
    answers.push(await post(message, url));
  }
  return answers;
}

function describe({ headers, base64 }) {
  const bytes = Buffer.from(base64, "base64");
  const isText = /json|xml|^text\//.test(headers["content-type"] || "");
  const event = HTTP.toEvent({ headers, body: isText ? bytes.toString("utf8") : bytes });
  const { data, data_base64, ...members } = event.toJSON();
  if (/json/.test(event.datacontenttype) && typeof event.data !== "string") // +json it leaves alone
    return { attributes: members, extensions: {}, data: { json: event.data } };
  return {
    attributes: members,
    extensions: {},
    data: { base64: Buffer.from(event.data || "").toString("base64") },
  };
}

async function main([what, ...rest]) {
  const input = JSON.parse(fs.readFileSync(0, "utf8"));
  const result = what === "send" ? await send(input, ...rest) : input.map(describe);
  process.stdout.write(JSON.stringify(result));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
