// Reads [{"names": {name: [text] | null (no answer)}, "author", "spf": [domain], "dkim": [domain]}] and says what DMARC is for mailauth.
import fs from "node:fs";
import { dmarc } from "mailauth/lib/dmarc/index.js";

const failed = (code) => Object.assign(new Error(code), { code });
const told = [];
for (const given of JSON.parse(fs.readFileSync(0, "utf8"))) {
  const resolver = async (name, type) => {
    if (!(name in given.names)) throw failed("ENOTFOUND");
    if (given.names[name] === null) throw failed("ESERVFAIL");
    if (type !== "TXT" || !given.names[name].length) throw failed("ENODATA");
    return given.names[name].map((text) => [text]);
  };
  const found = await dmarc({
    headerFrom: [`a@${given.author}`], spfDomains: given.spf, dkimDomains: given.dkim.map((domain) => ({ domain })),
    resolver, strict: true,
  });
  told.push([found.status.result, found.policy ?? "none"]);
}
console.log(JSON.stringify(told));
