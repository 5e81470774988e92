// Reads a page as XML and as HTML, both strictly. Returns its faults and, from the HTML, its elements.
//
// 1. XML accepts neither a tag that is not closed nor one that is closed in the wrong place, no
//    attribute without quotes or given twice, and no character that must be escaped.
// 2. HTML accepts everything, but it moves what stands in the wrong place and adds what is missing.
//    So the two trees are the same only if nothing does and nothing is.
const [page] = arguments;
const faults = [];
const xml = new DOMParser().parseFromString(page, 'application/xhtml+xml');
const html = new DOMParser().parseFromString(page, 'text/html');
const error = xml.querySelector('parsererror');
if (error) {
  faults.push(error.textContent);
}
if (html.compatMode !== 'CSS1Compat') {
  faults.push('there is no doctype');
}

// An element as its name, its attributes and its children, without blank text between them.
function tree(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    return node.nodeType === Node.TEXT_NODE ? node.data : `<!${node.nodeName}>`;
  }
  const children = Array.from(node.childNodes).map(tree);
  return [node.localName, attributes(node), children.filter(child => child === '' || typeof child !== 'string' || child.trim())];
}

function attributes(element) {
  const all = Array.from(element.attributes).map(({ name, value }) => [name, value]);
  return all.sort(([a], [b]) => (a < b ? -1 : 1));
}

const trees = [html, xml].map(it => JSON.stringify(tree(it.documentElement)));
if (!error && trees[0] !== trees[1]) {
  const at = Array.from(trees[0]).findIndex((character, index) => character !== trees[1][index]);
  faults.push(`as HTML ${trees[0].slice(at - 60, at + 60)}, as XML ${trees[1].slice(at - 60, at + 60)}`);
}
const elements = Array.from(html.querySelectorAll('*'));
return { faults, elements: elements.map(it => [it.localName, Object.fromEntries(attributes(it))]) };
