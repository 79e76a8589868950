// A day with node-imap: node imap.mjs PORT USER PASSWORD. Prints what it saw as one line of JSON.
import Imap from 'imap';

const [port, user, password] = process.argv.slice(2);
const imap = new Imap({ user, password, host: '127.0.0.1', port: Number(port), tls: false, keepalive: true });
const call = (method, ...args) => new Promise((resolve, reject) =>
    imap[method](...args, (error, value) => (error ? reject(error) : resolve(value))));
const fetched = (source, options) => new Promise((resolve, reject) => {
    const out = [];
    const fetch = imap.fetch(source, options);
    fetch.on('message', message => {
        const one = { body: '' };
        message.on('body', stream => stream.on('data', chunk => { one.body += chunk; }));
        message.once('attributes', attributes => { one.flags = attributes.flags; one.uid = attributes.uid; one.struct = attributes.struct; });
        message.once('end', () => out.push(one));
    });
    fetch.once('error', reject);
    fetch.once('end', () => resolve(out));
});
const seen = {};
const text = name => `From: Ben <ben@example.test>\r\nSubject: ${name}\r\n\r\nThe text of ${name}.\r\n`;

await new Promise((resolve, reject) => { imap.once('ready', resolve); imap.once('error', reject); imap.connect(); });
for (const name of ['one', 'two', 'three']) await call('append', text(name), { mailbox: 'INBOX', flags: name === 'two' ? ['Seen'] : [] });
seen.total = (await call('openBox', 'INBOX', false)).messages.total;
seen.unseen = (await call('search', ['UNSEEN'])).length;
seen.since = (await call('search', [['SINCE', 'May 20, 2010'], ['HEADER', 'SUBJECT', 'three']])).length;
const list = await fetched('1:*', { bodies: ['HEADER.FIELDS (SUBJECT)', 'TEXT'], struct: true });
seen.bodies = list.map(one => one.body.includes('The text of') && one.struct[0].type === 'text');
await call('addFlags', [list[0].uid], ['Flagged']);
await call('addKeywords', [list[0].uid], ['work']);
seen.flags = (await fetched([list[0].uid], { bodies: '' }))[0].flags.filter(flag => flag !== '\\Seen').sort();
await call('addBox', 'Mine/below');
await call('move', [list[1].uid], 'Mine/below');
seen.boxes = Object.keys((await call('getBoxes')).Mine.children);
await call('addFlags', [list[2].uid], ['Deleted']);
await call('expunge');
seen.left = (await call('search', ['ALL'])).length;
const told = new Promise(resolve => imap.once('mail', resolve));
await call('append', text('later'), { mailbox: 'INBOX' });
seen.told = await told;
imap.end();
await new Promise(resolve => imap.once('close', resolve));
console.log(JSON.stringify(seen));
