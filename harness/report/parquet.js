"use strict";
// Columns of numbers and texts as a Parquet file: one row group, a plain page a column, nothing compressed.
// The format: https://parquet.apache.org/docs/file-format/ ; its footer is Thrift's compact protocol.
const Parquet = (() => {
  const DOUBLE = 5, BYTES = 6, REQUIRED = 0, UTF8 = 0, PLAIN = 0, RLE = 3, DATA = 0;
  const coded = (text) => new TextEncoder().encode(text);
  const varint = (n) => n < 128 ? [n] : [128 + n % 128, ...varint(Math.floor(n / 128))];
  // what stands in a footer, with the number of its type; no whole number here is negative
  const i32 = (n) => ({ type: 5, bytes: varint(2 * n) }), i64 = (n) => ({ type: 6, bytes: varint(2 * n) });
  const text = (words) => ({ type: 8, bytes: [...varint(coded(words).length), ...coded(words)] });
  const list = (items) => ({ type: 9, bytes: [
    ...(items.length < 15 ? [16 * items.length + items[0].type] : [240 + items[0].type, ...varint(items.length)]),
    ...items.flatMap((item) => item.bytes),
  ] });
  const struct = (fields) => {
    let last = 0;
    const bytes = Object.entries(fields).flatMap(([id, { type, bytes }]) => {
      const head = 16 * (id - last) + type;
      last = Number(id);
      return [head, ...bytes];
    });
    return { type: 12, bytes: [...bytes, 0] };
  };

  const long = (n) => {
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setUint32(0, n, true);
    return new Uint8Array(bytes.buffer);
  };
  const doubles = (values) => [new Uint8Array(values.buffer)]; // the lowest byte first, as the format has it
  const texts = (values) => values.map(coded).flatMap((bytes) => [long(bytes.length), bytes]);
  const size = (parts) => parts.reduce((sum, part) => sum + part.length, 0);

  // name to values, a Float64Array or a list of texts; returns the parts of a file
  const file = (columns) => {
    const parts = [coded("PAR1")], chunks = [], names = Object.keys(columns), rows = columns[names[0]].length;
    const types = names.map((name) => columns[name] instanceof Float64Array ? DOUBLE : BYTES);
    names.forEach((name, i) => {
      const values = (types[i] === DOUBLE ? doubles : texts)(columns[name]), start = size(parts);
      const page = struct({ 1: i32(rows), 2: i32(PLAIN), 3: i32(RLE), 4: i32(RLE) });
      parts.push(Uint8Array.from(struct({ 1: i32(DATA), 2: i32(size(values)), 3: i32(size(values)), 5: page }).bytes), ...values);
      const length = i64(size(parts) - start);
      const about = struct({
        1: i32(types[i]), 2: list([i32(PLAIN)]), 3: list([text(name)]), 4: i32(0), 5: i64(rows), 6: length, 7: length, 9: i64(start),
      });
      chunks.push(struct({ 2: i64(start), 3: about }));
    });
    const leaves = names.map((name, i) => struct({
      1: i32(types[i]), 3: i32(REQUIRED), 4: text(name), ...(types[i] === BYTES ? { 6: i32(UTF8) } : {}),
    }));
    const schema = list([struct({ 4: text("schema"), 5: i32(names.length) }), ...leaves]);
    const group = struct({ 1: list(chunks), 2: i64(size(parts) - 4), 3: i64(rows) });
    const foot = Uint8Array.from(struct({ 1: i32(1), 2: schema, 3: i64(rows), 4: list([group]), 6: text("cellbench") }).bytes);
    return [...parts, foot, long(foot.length), coded("PAR1")];
  };
  return { file };
})();
