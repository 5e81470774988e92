// The page of `gradprobe serve`: uploads a file, follows its check and shows the report. It sends
// requests only to the service that it came from.
'use strict';

const element = id => document.getElementById(id);
const ENDED = ['done', 'failed', 'cancelled'];
let shown = null;   // id of the check that is shown
let upload = null;  // request that carries a file
let older = null;   // cursor of the next page of the list

// A service that does not answer, or a broken connection to it.
class Unreachable extends Error {}

const GONE = 'The service is gone: it does not answer.';

function headers() {
  const token = sessionStorage.getItem('token');
  return token ? {Authorization: `Bearer ${token}`} : {};
}

// Returns the answer of the service. Throws an error with the detail of a refusal.
async function request(path, options = {}) {
  const response = await fetch(path, {...options, headers: headers()})
    .catch(() => { throw new Unreachable(GONE); });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({detail: response.statusText}));
  throw new Error(response.status === 401 ? requestToken() : problem.detail);
}

// Shows the form for the token, and returns a request to fill it in.
function requestToken() {
  const isWrong = sessionStorage.getItem('token') !== null;
  element('token-form').hidden = false;
  if (isWrong) {
    sessionStorage.removeItem('token');
    element('token-status').textContent = 'Wrong token.';
    element('token').select();
  }
  return 'Enter the token first.';
}

// Parses the settings: --rtol 1e-4 --wrt input, or rtol=1e-4&wrt=input.
function settings() {
  const text = element('settings').value
    .replace(/\s*=\s*/g, '=')
    .replace(/(^|[&\s])(--?[\w-]+)\s+(?!-[-a-z])/g, '$1$2=');
  const query = new URLSearchParams();
  for (const word of text.split(/[&\s]+/).filter(word => word)) {
    const [name, ...value] = word.replace(/^--?/, '').split('=');
    query.append(name, value.join('='));
  }
  return query;
}

// Shows a name that may break after its punctuation.
function showName(place, name) {
  const pieces = name.split(/(?<=[/_.-])/);
  place.replaceChildren(...pieces.flatMap(piece => [piece, document.createElement('wbr')]));
}

function showStatus(text, state = '') {
  element('status').textContent = text;
  element('status').className = state;
}

// Shows the empty section of one check.
function showCheck(name) {
  upload?.abort();
  shown = null;
  element('current').hidden = false;
  showName(element('current-name'), name);
  document.title = `${name} - gradprobe`;
  for (const id of ['links', 'cancel', 'progress']) element(id).hidden = true;
  showReport(null);
  offerDeletion(false);
  element('cancel').disabled = false;
  showStatus('');
  element('current-name').focus({preventScroll: true});
  element('current').scrollIntoView({block: 'start'});
}

// Hides the section of one check.
function hideCheck() {
  upload?.abort();
  shown = null;
  showReport(null);
  element('current').hidden = true;
  document.title = 'gradprobe';
}

// Uploads a file. fetch reports no progress of an upload, so this uses XMLHttpRequest.
function send(file, name) {
  showCheck(name);
  if (/\.(pt|pth|ckpt|pkl|bin|npy)$/i.test(name)) {
    element('how').open = true;
    fail(`${name} is neither a .safetensors nor an .npz file. "How to make a file" shows how.`);
    return;
  }
  const query = settings();
  // The service keeps 200 characters of a name. The end of a path is the most useful part.
  query.set('name', [...name].slice(-200).join(''));
  const sent = new XMLHttpRequest();
  upload = sent;
  sent.open('POST', `v1/checks?${query}`);
  for (const [key, value] of Object.entries(headers())) sent.setRequestHeader(key, value);
  sent.setRequestHeader('Content-Type', 'application/octet-stream');
  sent.upload.onprogress = event => {
    showStatus(`Uploading: ${Math.round(100 * event.loaded / event.total)} %`);
    showProgress(event.loaded / event.total);
  };
  sent.onerror = () => fail(GONE);
  sent.onload = () => {
    let answer;
    try {
      answer = JSON.parse(sent.responseText);
    } catch {
      answer = {detail: sent.statusText};
    }
    if (sent.status >= 400) {
      fail(sent.status === 401 ? requestToken() : answer.detail);
      return;
    }
    follow(answer.id);
    list();
  };
  sent.send(file);
}

function fail(detail) {
  element('progress').hidden = true;
  element('cancel').hidden = true;
  showStatus(detail, 'failed');
}

// Shows a share from 0 to 1, or null for an unknown one.
function showProgress(share) {
  element('progress').hidden = false;
  if (share === null) element('progress').removeAttribute('value');
  else element('progress').value = share;
}

// Follows a check to its end by the events of the service.
async function follow(id) {
  shown = id;
  if (location.hash !== `#${id}`) history.pushState(null, '', `#${id}`);
  try {
    const response = await request(`v1/checks/${id}/events`);
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
        showJob(last);
      }
    }
    if (last && ENDED.includes(last.state)) { await showEnd(last); return; }
    retry(id, 'The service has stopped. The check continues when it is back.');
  } catch (error) {
    if (shown !== id) return;
    // A connection that breaks while it is read is a TypeError.
    const isBroken = error instanceof Unreachable || error instanceof TypeError;
    if (isBroken) retry(id, `${GONE} Trying again.`);
    else fail(error.message);
  }
}

function retry(id, text) {
  element('cancel').hidden = true;
  showProgress(null);
  showStatus(text);
  setTimeout(() => { if (shown === id) follow(id); }, 2000);
}

// Shows the state and the progress of a check.
function showJob(job) {
  showName(element('current-name'), job.name ?? job.id);
  element('cancel').hidden = ENDED.includes(job.state);
  if (element('cancel').disabled) return;
  if (job.state === 'queued') {
    showStatus('Queued');
    showProgress(null);
  } else if (job.state === 'running') {
    const {done, total, rate} = job.progress ?? {};
    const count = number => Math.round(number).toLocaleString('en');
    if (!total) {
      showStatus('Checking');
    } else if (done === total) {
      showStatus(`Searching for the cause: ${count(total)} entries compared`);
    } else {
      showStatus(`Checking: ${count(done)} of ${count(total)} entries, ${count(rate)} per second`);
    }
    showProgress(total && done < total ? done / total : null);
  }
}

// Shows the result of a check.
async function showEnd(job) {
  element('progress').hidden = true;
  element('cancel').hidden = true;
  offerDeletion(true);
  list();
  if (job.state === 'failed') { showStatus(job.error, 'failed'); return; }
  if (job.state === 'cancelled') { showStatus('Cancelled'); return; }
  document.title = `${job.verdict}: ${job.name ?? job.id} - gradprobe`;
  showStatus(`${headline(job)} Rendering the report.`, job.verdict);
  let page;
  try {
    page = await (await request(`v1/checks/${job.id}/report.html`)).text();
  } catch (error) {
    if (shown !== job.id) return;
    const detail = `${job.summary}. The report cannot be rendered: ${error.message}`;
    showStatus(`${headline(job)} ${detail}`, job.verdict);
    return;
  }
  if (shown !== job.id) return;
  link('page', page, 'text/html');
  showReport(element('page').href);
  link('json', JSON.stringify(job.report, null, 2), 'application/json');
  element('json').download = `${job.name ?? job.id}.json`;
  element('links').hidden = false;
  showStatus(headline(job), job.verdict);
}

// Shows the page at an address in a frame without scripts, or none. A new frame adds no entry to
// the history.
function showReport(address) {
  element('frame').replaceChildren();
  if (address === null) return;
  const frame = document.createElement('iframe');
  frame.id = 'report';
  frame.title = 'The report';
  frame.sandbox = 'allow-same-origin';
  frame.onload = () => {
    // The frame gets the height of its content, so that only the page scrolls. The content changes
    // with the width of the window, and when a reader opens a part of it.
    const content = frame.contentDocument.documentElement;
    const fit = () => {
      const height = Math.ceil(content.getBoundingClientRect().height);
      // The border has a pixel above and below.
      frame.style.height = `${height + 2}px`;
    };
    new ResizeObserver(fit).observe(content);
    fit();
  };
  frame.src = address;
  element('frame').append(frame);
}

// Shows or hides the button that deletes the check. It must be pressed twice.
function offerDeletion(isOffered) {
  element('delete').hidden = !isOffered;
  element('delete').textContent = 'Delete this check';
}

// Points a link to a text, as a blob.
function link(id, text, type) {
  URL.revokeObjectURL(element(id).href);
  element(id).href = URL.createObjectURL(new Blob([text], {type}));
}

// Returns the verdict as a sentence, with its limits.
function headline(job) {
  const {checks} = job.report;
  const given = checks.filter(check => check.source === 'given');
  const where = checks.some(check => check.rows) ? ' in the checked rows' : '';
  if (job.verdict === 'fail') {
    if (checks.length === 1) return 'The gradient is wrong.';
    const wrong = checks.filter(check => check.verdict === 'fail').length;
    return `${wrong} of ${checks.length} gradients are wrong.`;
  }
  if (job.verdict === 'inconclusive') {
    return 'Inconclusive: no error found, but a wrong gradient might have passed, too.';
  }
  if (given.length === 0) {
    return 'The file holds no gradient. The built-in backward pass was checked, and is right.';
  }
  if (checks.length === 1) return `The gradient is right${where}.`;
  return `All ${checks.length} gradients are right${where}.`;
}

// Shows the past checks, the newest first. With a cursor, appends the next page.
async function list(cursor = null) {
  let page;
  try {
    const start = cursor === null ? '' : `&cursor=${cursor}`;
    const verdict = element('filter').value && `&verdict=${element('filter').value}`;
    page = await (await request(`v1/checks?limit=20${verdict}${start}`)).json();
  } catch {
    return;
  }
  const rows = page.checks.map(job => {
    const row = document.createElement('tr');
    const cell = (content, name = '') => {
      const cell = document.createElement('td');
      cell.append(content);
      cell.className = name;
      row.append(cell);
    };
    const link = document.createElement('a');
    link.href = `#${job.id}`;
    showName(link, job.name ?? job.id);
    cell(link);
    cell(job.verdict ?? job.state, job.verdict ?? job.state);
    cell(job.summary ?? job.error ?? '');
    cell(new Date(1000 * job.created).toLocaleString(), 'late');
    return row;
  });
  const body = element('past').tBodies[0];
  if (cursor === null) body.replaceChildren(...rows);
  else body.append(...rows);
  element('past').hidden = body.rows.length === 0;
  element('none').hidden = body.rows.length > 0;
  element('filter-label').hidden = body.rows.length === 0 && !element('filter').value;
  element('none').textContent = element('filter').value ? 'None with this verdict.' : 'None yet.';
  older = page.next ?? null;
  element('more').hidden = older === null;
}

// Shows the check whose id is in the address, or none if there is no id.
function open() {
  const id = location.hash.slice(1);
  if (!id && shown !== null) hideCheck();
  if (!id || id === shown) return;
  showCheck(id);
  follow(id);
}

element('file').onchange = event => {
  const [file] = event.target.files;
  if (file) send(file, file.name);
  // Without this, choosing the same file again would fire no change event.
  event.target.value = '';
};
for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    element('drop').classList.add('over');
  });
}
for (const kind of ['dragleave', 'drop']) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    element('drop').classList.remove('over');
  });
}
document.addEventListener('drop', event => {
  const {files} = event.dataTransfer;
  if (files.length === 1) send(files[0], files[0].name);
  if (files.length > 1) {
    showCheck('Several files');
    fail('Drop one file at a time. gradprobe check --server takes several.');
  }
});
element('example').onclick = async () => {
  try {
    const file = await (await request('example.safetensors')).blob();
    send(file, 'digits-accumulated.safetensors');
  } catch (error) {
    showCheck('The example');
    fail(error.message);
  }
};
element('cancel').onclick = async () => {
  element('cancel').disabled = true;
  showStatus('Cancelling');
  try {
    await request(`v1/checks/${shown}`, {method: 'DELETE'});
  } catch (error) {
    element('cancel').disabled = false;
    fail(error.message);
  }
};
element('delete').onclick = async () => {
  const sure = 'Press again to delete the file and its report';
  if (element('delete').textContent !== sure) {
    element('delete').textContent = sure;
    return;
  }
  try {
    await request(`v1/checks/${shown}`, {method: 'DELETE'});
  } catch (error) {
    fail(error.message);
    return;
  }
  hideCheck();
  history.replaceState(null, '', location.pathname);
  list();
};
element('delete').onblur = () => offerDeletion(!element('delete').hidden);
for (const button of document.querySelectorAll('.copy')) {
  button.onclick = async () => {
    const snippet = element(button.dataset.of);
    try {
      await navigator.clipboard.writeText(snippet.textContent);
      button.textContent = 'Copied';
    } catch {
      // Browsers write to the clipboard on secure pages only. A selection can be copied by hand.
      getSelection().selectAllChildren(snippet);
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  };
}
element('filter').onchange = () => list();
element('more').onclick = () => list(older);
element('token-form').onsubmit = event => {
  event.preventDefault();
  sessionStorage.setItem('token', element('token').value);
  element('token-status').textContent = '';
  element('token-form').hidden = true;
  element('current').hidden = true;
  start();
};
window.onhashchange = open;
window.onpopstate = open;

async function start() {
  list();
  open();
  try {
    const {used} = await (await request('v1/devices')).json();
    if (used) element('device').textContent = `Runs on ${used.name}.`;
  } catch {
    // Without a token, the first request has opened the form for it.
  }
}
start();
