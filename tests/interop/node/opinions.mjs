// Reads {"records": {name: text}, "messages": [base64]} and says what mailauth thinks of each message.
import fs from "node:fs";
// The parts alone: the package as a whole needs a newer Node.
import { arc } from "mailauth/lib/arc/index.js";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const resolver = async (name, type) => {
  if (type === "TXT" && name in given.records) return [[given.records[name]]];
  throw Object.assign(new Error(`no ${type} of ${name}`), { code: "ENOTFOUND" });
};
const options = { resolver, sender: "a@client.test", minBitLength: 1024, strict: true };
const told = [];
for (const text of given.messages) {
  const found = await dkimVerify(Buffer.from(text, "base64"), options);
  const chain = await arc(found.arc, options);
  const dkim = found.results.map((each) => [(each.signature ?? "").slice(0, 8), each.status.result]);
  told.push({ dkim: Object.fromEntries(dkim), arc: chain?.status?.result ?? "none" });
}
console.log(JSON.stringify(told));
