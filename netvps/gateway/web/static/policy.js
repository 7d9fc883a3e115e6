// xterm.js makes style elements and style attributes. The page's Content-Security-Policy allows neither inline, so the
// elements get the nonce of this page, and the attributes are set as properties, which the policy does not concern.
"use strict";
(() => {
  const nonce = document.querySelector("meta[name=nonce]").content;
  const createElement = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = createElement.call(this, name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
})();
