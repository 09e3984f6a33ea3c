"use strict";
// Columns of numbers and texts as a Parquet file: one row group, a plain page a column, nothing compressed.
// A number may be absent: before the numbers of a page stands a bit a row, whether there is one.
// The format: https://parquet.apache.org/docs/file-format/ ; its footer is Thrift's compact protocol.
const Parquet = (() => {
  const DOUBLE = 5, BYTES = 6, REQUIRED = 0, OPTIONAL = 1, UTF8 = 0, PLAIN = 0, RLE = 3, DATA = 0;
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
  const doubles = (values) => {
    const there = new Uint8Array(Math.ceil(values.length / 8)), known = values.filter((text) => text !== "");
    values.forEach((text, i) => { there[i >> 3] |= (text !== "") << (i & 7); });
    const head = varint(2 * there.length + 1);
    // the lowest byte first, as the format has it
    return [long(head.length + there.length), Uint8Array.from(head), there, new Uint8Array(Float64Array.from(known, Number).buffer)];
  };
  const texts = (values) => values.map(coded).flatMap((bytes) => [long(bytes.length), bytes]);
  const size = (parts) => parts.reduce((sum, part) => sum + part.length, 0);

  // a list of { name, texts, number }, all of one length; returns the parts of a file
  const file = (columns) => {
    const parts = [coded("PAR1")], chunks = [], rows = columns[0].texts.length;
    const types = columns.map(({ number }) => number ? DOUBLE : BYTES);
    columns.forEach(({ name, texts: values, number }, i) => {
      const data = (number ? doubles : texts)(values), start = size(parts);
      const page = struct({ 1: i32(rows), 2: i32(PLAIN), 3: i32(RLE), 4: i32(RLE) });
      parts.push(Uint8Array.from(struct({ 1: i32(DATA), 2: i32(size(data)), 3: i32(size(data)), 5: page }).bytes), ...data);
      const length = i64(size(parts) - start);
      const about = struct({
        1: i32(types[i]), 2: list([i32(PLAIN)]), 3: list([text(name)]), 4: i32(0), 5: i64(rows), 6: length, 7: length, 9: i64(start),
      });
      chunks.push(struct({ 2: i64(start), 3: about }));
    });
    const leaves = columns.map(({ name, number }, i) => struct({
      1: i32(types[i]), 3: i32(number ? OPTIONAL : REQUIRED), 4: text(name), ...(number ? {} : { 6: i32(UTF8) }),
    }));
    const schema = list([struct({ 4: text("schema"), 5: i32(columns.length) }), ...leaves]);
    const group = struct({ 1: list(chunks), 2: i64(size(parts) - 4), 3: i64(rows) });
    const foot = Uint8Array.from(struct({ 1: i32(1), 2: schema, 3: i64(rows), 4: list([group]), 6: text("cellbench") }).bytes);
    return [...parts, foot, long(foot.length), coded("PAR1")];
  };
  return { file };
})();
