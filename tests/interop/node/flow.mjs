// A day with imapflow: node flow.mjs PORT USER PASSWORD. Prints what it saw as one line of JSON.
import { ImapFlow } from 'imapflow';

const [port, user, pass] = process.argv.slice(2);
const client = new ImapFlow({
    host: '127.0.0.1', port: Number(port), secure: false, auth: { user, pass }, logger: false,
    tls: { rejectUnauthorized: false }, qresync: true,
});
const seen = {};
const message = name => `From: Ben <ben@example.test>\r\nTo: ${user}\r\nSubject: ${name} – ünïcode\r\n` +
    `Message-ID: <${name}@example.test>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe text of ${name}.\r\n`;

await client.connect();
seen.secure = client.secureConnection;
seen.enabled = [...client.enabled].sort();
seen.special = (await client.list()).filter(box => box.specialUse).map(box => box.specialUse).sort();
seen.created = (await client.mailboxCreate(['Größe', 'unter'])).created;
for (const name of ['one', 'two', 'three']) {
    const appended = await client.append('INBOX', message(name), name === 'two' ? ['\\Seen'] : []);
    if (!appended.uid) throw new Error('no APPENDUID');
}
const lock = await client.getMailboxLock('INBOX');
seen.exists = client.mailbox.exists;
seen.subjects = [];
for await (const one of client.fetch('1:*', { uid: true, envelope: true, flags: true, bodyStructure: true, source: true })) {
    seen.subjects.push([one.envelope.subject, one.flags.has('\\Seen'), one.bodyStructure.type, one.source.includes('The text of')]);
}
seen.unseen = await client.search({ seen: false }, { uid: true });
seen.header = await client.search({ header: { subject: 'three' } }, { uid: true });
seen.body = await client.search({ body: 'text of two' }, { uid: true });
await client.messageFlagsAdd('1', ['\\Flagged', '$Work']);
seen.flags = [...(await client.fetchOne('1', { flags: true })).flags].sort();
const { content } = await client.download('2', '1');
seen.downloaded = '';
for await (const chunk of content) seen.downloaded += chunk.toString();
const told = new Promise(resolve => client.once('exists', event => resolve(event.count)));
const idle = client.idle();
const other = new ImapFlow({
    host: '127.0.0.1', port: Number(port), secure: false, auth: { user, pass }, logger: false,
    tls: { rejectUnauthorized: false },
});
await other.connect();
await other.append('INBOX', message('later'));
seen.told = await told;
const expunged = new Promise(resolve => client.once('expunge', resolve));
const otherLock = await other.getMailboxLock('INBOX');
await other.messageDelete('1');
otherLock.release();
seen.expunged = (await expunged).path;
await other.logout();
const moved = await client.messageMove('2', 'Größe/unter');
seen.moved = moved.uidMap.size;
seen.status = await client.status('Größe/unter', { messages: true, unseen: true, uidNext: true });
lock.release();
seen.deleted = (await client.mailboxDelete('Größe/unter')).path;
await client.logout();
await idle.catch(() => {});
console.log(JSON.stringify(seen));
