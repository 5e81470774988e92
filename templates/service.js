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
  const problem = await response.json().catch(() => ({detail: response.statusText}));
  throw new Error(response.status === 401 ? wantToken() : problem.detail);
}

// Asks for the token, or for another one; says what has to be done before anything else.
function wantToken() {
  const isWrong = sessionStorage.getItem('token') !== null;
  at('token-form').hidden = false;
  if (isWrong) {
    sessionStorage.removeItem('token');
    at('token-status').textContent = 'That is not the token of this service.';
    at('token').select();
  }
  return 'This service wants its token first.';
}

// What is typed as settings: --rtol 1e-4 --wrt input, or rtol=1e-4&wrt=input.
function settings() {
  const text = at('settings').value.replace(/\s*=\s*/g, '=').replace(/(^|[&\s])(--?[\w-]+)\s+(?!-[-a-z])/g, '$1$2=');
  const asked = new URLSearchParams();
  for (const word of text.split(/[&\s]+/).filter(word => word)) {
    const [name, ...value] = word.replace(/^--?/, '').split('=');
    asked.append(name, value.join('='));
  }
  return asked;
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
  document.title = `${name} - gradprobe`;
  for (const id of ['report', 'links', 'cancel', 'progress']) at(id).hidden = true;
  at('cancel').disabled = false;
  say('');
  at('current-name').focus({preventScroll: true});
  at('current').scrollIntoView({block: 'start'});
}

// Sends a file. XMLHttpRequest, since fetch tells nothing of how much has gone.
function send(file, name) {
  begin(name);
  const asked = settings();
  // What the service can keep of a name: its end tells most.
  asked.set('name', [...name].slice(-200).join(''));
  upload = new XMLHttpRequest();
  const request = upload;
  request.open('POST', `v1/checks?${asked}`);
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
      fail(request.status === 401 ? wantToken() : answer.detail);
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
  if (at('cancel').disabled) return;
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
  document.title = `${job.verdict}: ${job.name ?? job.id} - gradprobe`;
  say(`${headline(job)} The report is being drawn.`, job.verdict);
  let page;
  try {
    page = await (await ask(`v1/checks/${job.id}/report.html`)).text();
  } catch (error) {
    if (shown === job.id) say(`${headline(job)} ${job.summary} The report cannot be drawn: ${error.message}`, job.verdict);
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
  link('page', page, 'text/html');
  link('json', JSON.stringify(job.report, null, 2), 'application/json');
  at('json').download = `${job.name ?? job.id}.json`;
  at('links').hidden = false;
  say(headline(job), job.verdict);
}

function link(id, text, type) {
  URL.revokeObjectURL(at(id).href);
  at(id).href = URL.createObjectURL(new Blob([text], {type}));
}

// The verdict, and what it does not say.
function headline(job) {
  const {checks} = job.report;
  const given = checks.filter(check => check.source === 'given');
  const where = checks.some(check => check.rows) ? ' in the rows that were checked' : '';
  if (job.verdict === 'fail') {
    const wrong = checks.filter(check => check.verdict === 'fail').length;
    return checks.length === 1 ? 'The gradient is wrong.' : `${wrong} of ${checks.length} gradients are wrong.`;
  }
  if (job.verdict === 'inconclusive') return 'Inconclusive: no error was seen, but a wrong gradient might have passed as well.';
  if (given.length === 0) return 'No gradient was given, so nothing of yours was checked; gradprobe\'s own is right.';
  return checks.length === 1 ? `The gradient is right${where}.` : `All ${checks.length} gradients are right${where}.`;
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
  const {files} = event.dataTransfer;
  if (files.length === 1) send(files[0], files[0].name);
  if (files.length > 1) {
    begin('Several files');
    fail('One file at a time is checked here; gradprobe check --server takes several.');
  }
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
at('cancel').onclick = async () => {
  at('cancel').disabled = true;
  say('Cancelling');
  try {
    await ask(`v1/checks/${shown}`, {method: 'DELETE'});
  } catch (error) {
    at('cancel').disabled = false;
    fail(error.message);
  }
};
at('more').onclick = () => list(older);
at('token-form').onsubmit = event => {
  event.preventDefault();
  sessionStorage.setItem('token', at('token').value);
  at('token-status').textContent = '';
  at('token-form').hidden = true;
  at('current').hidden = true;
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
