// Checks the proof of an event here, in the browser: the hash of its bytes, the way up to the root, and who signed the root.
// Formats: c2sp.org/tlog-proof, tlog-checkpoint, signed-note; RFC 6962 and RFC 9162 (section 2.1.3.2) for the tree.
"use strict";

(() => {
  const HEADER = "c2sp.org/tlog-proof@v1";
  const ED25519 = 1;
  const text = new TextEncoder();

  class Bad extends Error {}
  class Unable extends Error {}

  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const demand = (condition, why) => { if (!condition) throw new Bad(why); };
  const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

  const hash = async (...parts) => {
    const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) { whole.set(part, at); at += part.length; }
    return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  };

  const parse = (proof) => {
    const [head, ...rest] = proof.split("\n\n");
    const [note, signatures] = [`${rest[0]}\n`, rest.slice(1).join("\n\n")];
    const lines = head.split("\n");
    demand(lines.shift() === HEADER, "It is not a proof.");
    if (lines[0]?.startsWith("extra ")) lines.shift();
    const index = lines.shift()?.match(/^index (0|[1-9][0-9]*)$/);
    demand(index, "It names no leaf.");
    const [origin, size, root] = note.split("\n");
    demand(/^[1-9][0-9]*$/.test(size), "Its checkpoint names no size.");
    return { index: BigInt(index[1]), hashes: lines.map(bytes), note, signatures, origin, size: BigInt(size), root: bytes(root) };
  };

  const climb = async (leaf, index, size, path) => {
    demand(index < size, "The leaf is beyond the checkpoint.");
    let [node, last, found] = [index, size - 1n, await hash([0], leaf)];
    for (const sibling of path) {
      demand(last !== 0n, "The way up is too long.");
      if (node & 1n || node === last) {
        found = await hash([1], sibling, found);
        while (!(node & 1n) && node !== 0n) { node >>= 1n; last >>= 1n; }
      } else {
        found = await hash([1], found, sibling);
      }
      node >>= 1n;
      last >>= 1n;
    }
    demand(last === 0n, "The way up is too short.");
    return found;
  };

  // name+hash+base64(type, public key), as signed-note writes a verifier key.
  const verifier = (written) => {
    const [, name, id, key] = written.match(/^(.+)\+([0-9a-f]{8})\+(.+)$/) || [];
    demand(name, "The log's key cannot be read.");
    const raw = bytes(key);
    return { name, id, type: raw[0], key: raw.slice(1) };
  };

  const signed = async (note, signatures, key) => {
    for (const line of signatures.split("\n")) {
      const [, name, written] = line.match(/^— (\S+) (\S+)$/) || [];
      if (name !== key.name) continue;
      const raw = bytes(written);
      const id = [...raw.slice(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      if (id !== key.id) continue;
      let imported;
      try {
        imported = await crypto.subtle.importKey("raw", key.key, "Ed25519", false, ["verify"]);
      } catch {
        throw new Unable("It knows no Ed25519 signatures.");
      }
      demand(await crypto.subtle.verify("Ed25519", imported, raw.slice(4), text.encode(note)), "The checkpoint's signature is bad.");
      return true;
    }
    return false;
  };

  const check = async ({ proof, leaf, origin, keys }) => {
    if (!window.crypto?.subtle) throw new Unable("It does so on secure (https) pages only.");
    const said = parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes(proof)));
    demand(said.origin === origin, "It is the proof of another log.");
    demand(same(await climb(bytes(leaf), said.index, said.size, said.hashes), said.root), "The event's bytes do not lead to the signed root.");
    for (const key of keys.split(" ").map(verifier)) {
      if (key.type === ED25519 && await signed(said.note, said.signatures, key)) return said;
    }
    throw new Bad("No key of this log signed the checkpoint.");
  };

  const show = (element, tone, icon, label, reason) => {
    const badge = element.querySelector("[data-verdict]");
    badge.className = `badge is-${tone}`;
    badge.querySelector("use").setAttribute("href", `#i-${icon}`);
    badge.lastChild.textContent = label;
    element.querySelector("[data-reason]").textContent = reason;
    element.dataset.checked = label;
  };

  const judge = async (element) => {
    try {
      const { size } = await check(element.dataset);
      show(element, "proven", "proof", "verified", `Checked by this browser: these bytes are in the log of ${size} events whose root the log signed.`);
    } catch (error) {
      if (error instanceof Unable) {
        show(element, "waiting", "clock", "not checked by this browser", error.message);
        return;
      }
      const why = error instanceof Bad ? error.message : "The proof cannot be read.";
      show(element, "refused", "bang", "does not check", `${why} What you see may not be what happened: tell security, and keep this page.`);
      element.setAttribute("role", "alert");
    }
  };

  const look = (root) => {
    for (const element of root.querySelectorAll("[data-proof]:not([data-checked])")) {
      element.dataset.checked = "";
      judge(element);
    }
  };

  new MutationObserver(() => look(document)).observe(document.body, { childList: true, subtree: true });
  look(document);
})();
