// Reads files that a person picked, pasted or dropped into the control interface's FILE form.

/** Files as `{filename, content_type, data: base64}`. */
export const readFiles = (list) => Promise.all([...list].map(readFile));

export async function readFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 0x8000) pieces.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  return { filename: file.name || "file", content_type: file.type || "application/octet-stream", data: btoa(pieces.join("")) };
}
