// The page of `gradprobe serve`: a file goes up, its check is watched, its report is shown. It asks nobody but the service that it came from.
'use strict';

const at = id => document.getElementById(id);
const ENDED = ['done', 'failed', 'cancelled'];
let shown = null;   // the id of the check that is shown
let upload = null;  // the request that carries a file
let older = null;   // where the list goes on

function headers() {
  const token = sessionStorage.getItem('token');
  return token ? {Authorization: `Bearer ${token}`} : {};
}

// What the service answers; a refusal is thrown as its sentence.
async function ask(path, options = {}) {
  const response = await fetch(path, {...options, headers: headers()});
  if (response.ok) return response;
  if (response.status === 401) at('token-form').hidden = false;
  const problem = await response.json().catch(() => ({detail: response.statusText}));
  throw new Error(problem.detail);
}

function say(text, state = '') {
  at('status').textContent = text;
  at('status').className = state;
}

// Shows the part of the page for one check, from its beginning.
function begin(name) {
  upload?.abort();
  shown = null;
  at('current').hidden = false;
  at('current-name').textContent = name;
  for (const id of ['report', 'links', 'cancel', 'progress']) at(id).hidden = true;
  say('');
  at('current-name').focus({preventScroll: true});
  at('current').scrollIntoView({block: 'start'});
}

// Sends a file. XMLHttpRequest, since fetch tells nothing of how much has gone.
function send(file, name) {
  begin(name);
  const settings = new URLSearchParams(at('settings').value.trim());
  // What the service can keep of a name: its end tells most.
  settings.set('name', [...name].slice(-200).join(''));
  upload = new XMLHttpRequest();
  const request = upload;
  request.open('POST', `v1/checks?${settings}`);
  for (const [key, value] of Object.entries(headers())) request.setRequestHeader(key, value);
  request.setRequestHeader('Content-Type', 'application/octet-stream');
  request.upload.onprogress = event => {
    say(`Sending, ${Math.round(100 * event.loaded / event.total)} %`);
    progress(event.loaded / event.total);
  };
  request.onerror = () => fail('The service cannot be reached.');
  request.onload = () => {
    let answer;
    try { answer = JSON.parse(request.responseText); } catch { answer = {detail: request.statusText}; }
    if (request.status >= 400) {
      if (request.status === 401) at('token-form').hidden = false;
      fail(answer.detail);
      return;
    }
    watch(answer.id);
    list();
  };
  request.send(file);
}

function fail(detail) {
  at('progress').hidden = true;
  at('cancel').hidden = true;
  say(detail, 'failed');
}

function progress(share) {
  at('progress').hidden = false;
  if (share === null) at('progress').removeAttribute('value');
  else at('progress').value = share;
}

// Follows a check up to its end, by the service's events.
async function watch(id) {
  shown = id;
  if (location.hash !== `#${id}`) history.pushState(null, '', `#${id}`);
  try {
    const response = await ask(`v1/checks/${id}/events`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '', last = null;
    for (;;) {
      const {value, done} = await reader.read();
      if (shown !== id) { reader.cancel(); return; }
      if (done) break;
      text += value;
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) {
        const data = event.split('\n').filter(line => line.startsWith('data:'));
        if (data.length === 0) continue;
        last = JSON.parse(data.map(line => line.slice(5)).join('\n'));
        tell(last);
      }
    }
    if (last && ENDED.includes(last.state)) { await end(last); return; }
    again(id, 'The service has ended; the check goes on when it is back.');
  } catch (error) {
    if (shown !== id) return;
    // What a connection dies of is a TypeError; a refusal is none.
    if (error instanceof TypeError) again(id, 'The service cannot be reached; it is tried again.');
    else fail(error.message);
  }
}

function again(id, text) {
  at('cancel').hidden = true;
  progress(null);
  say(text);
  setTimeout(() => { if (shown === id) watch(id); }, 2000);
}

// How far a check is.
function tell(job) {
  at('current-name').textContent = job.name ?? job.id;
  at('cancel').hidden = ENDED.includes(job.state);
  if (job.state === 'queued') {
    say('Waiting for its turn');
    progress(null);
  } else if (job.state === 'running') {
    const {done, total, rate} = job.progress ?? {};
    const count = number => Math.round(number).toLocaleString('en');
    if (!total) say('Checking');
    else if (done === total) say(`Looking for the cause: ${count(total)} entries are compared`);
    else say(`Checking: ${count(done)} of ${count(total)} entries, ${count(rate)} a second`);
    progress(total && done < total ? done / total : null);
  }
}

async function end(job) {
  at('progress').hidden = true;
  at('cancel').hidden = true;
  list();
  if (job.state === 'failed') { say(job.error, 'failed'); return; }
  if (job.state === 'cancelled') { say('Cancelled'); return; }
  say(`${verdict(job)} The report is being drawn.`, job.verdict);
  let page;
  try {
    page = await (await ask(`v1/checks/${job.id}/report.html`)).text();
  } catch (error) {
    if (shown === job.id) say(`${verdict(job)} ${job.summary} The report cannot be drawn: ${error.message}`, job.verdict);
    return;
  }
  if (shown !== job.id) return;
  const frame = at('report');
  frame.onload = () => {
    // As high as it is, so that the page alone scrolls.
    frame.style.height = `${frame.contentDocument.documentElement.scrollHeight + 24}px`;
  };
  frame.hidden = false;
  frame.srcdoc = page;
  const report = new Blob([JSON.stringify(job.report, null, 2)], {type: 'application/json'});
  URL.revokeObjectURL(at('json').href);
  at('json').href = URL.createObjectURL(report);
  at('json').download = `${job.id}.json`;
  at('links').hidden = false;
  say(verdict(job), job.verdict);
}

function verdict(job) {
  const {state, verdict} = job;
  return {pass: 'The gradient is right.', fail: 'The gradient is wrong.', inconclusive: 'That cannot be told.'}[verdict] ?? state;
}

// The checks so far, the latest first; with `cursor` the ones before.
async function list(cursor = null) {
  let part;
  try {
    part = await (await ask(`v1/checks?limit=20${cursor === null ? '' : `&cursor=${cursor}`}`)).json();
  } catch {
    return;
  }
  const rows = part.checks.map(job => {
    const row = document.createElement('tr');
    const cell = (content, name = '') => {
      const it = document.createElement('td');
      it.append(content);
      it.className = name;
      row.append(it);
    };
    const link = document.createElement('a');
    link.href = `#${job.id}`;
    link.textContent = job.name ?? job.id;
    cell(link);
    cell(job.verdict ?? job.state, job.verdict ?? job.state);
    cell(job.summary ?? job.error ?? '');
    cell(new Date(1000 * job.created).toLocaleString(), 'late');
    return row;
  });
  const body = at('past').tBodies[0];
  if (cursor === null) body.replaceChildren(...rows);
  else body.append(...rows);
  at('past').hidden = body.rows.length === 0;
  at('none').hidden = body.rows.length > 0;
  older = part.next ?? null;
  at('more').hidden = older === null;
}

function open() {
  const id = location.hash.slice(1);
  if (!id || id === shown) return;
  begin(id);
  watch(id);
}

at('file').onchange = event => {
  const [file] = event.target.files;
  if (file) send(file, file.name);
  // The same file may be picked again.
  event.target.value = '';
};
for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, event => { event.preventDefault(); at('drop').classList.add('over'); });
}
for (const kind of ['dragleave', 'drop']) {
  document.addEventListener(kind, event => { event.preventDefault(); at('drop').classList.remove('over'); });
}
document.addEventListener('drop', event => {
  const [file] = event.dataTransfer.files;
  if (file) send(file, file.name);
});
at('example').onclick = async () => {
  try {
    const file = await (await ask('example.safetensors')).blob();
    send(file, 'digits-accumulated.safetensors');
  } catch (error) {
    begin('The example');
    fail(error.message);
  }
};
at('cancel').onclick = () => ask(`v1/checks/${shown}`, {method: 'DELETE'}).catch(error => fail(error.message));
at('more').onclick = () => list(older);
at('token-form').onsubmit = event => {
  event.preventDefault();
  sessionStorage.setItem('token', at('token').value);
  at('token-form').hidden = true;
  start();
};
window.onhashchange = open;
window.onpopstate = open;

async function start() {
  list();
  open();
  try {
    const {used} = await (await ask('v1/devices')).json();
    if (used) at('device').textContent = `It is computed on ${used.name}.`;
  } catch { /* What keeps it from being told keeps the rest, too, and is told there. */ }
}
start();
