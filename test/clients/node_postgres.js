// node-postgres with real[] columns: create, insert, search, filter, update, delete, as an application does it. The server is
// the one of PGHOST and PGPORT.
'use strict';

const {Pool} = require('pg');
const {check, same, errorOf, generator, distances, nearest, run} = require('./checks.js');

const dims = 24;
const vector = generator(Number(process.env.SEED || 1));
const list = (v) => Array.from(v);

run(async () => {
  const pool = new Pool({max: 4, options: '-c enable_seqscan=off -c vhnsw.ef_search=1000'});
  await pool.query('CREATE EXTENSION vecckpt');
  await pool.query('CREATE TABLE items (id int PRIMARY KEY, category int, tags text[], embedding real[])');

  // Rows that are there before the index.
  const rows = [];
  const insert = async (client, id) => {
    const row = {id, category: id % 4, v: vector(dims)};
    rows.push(row);
    const done = await client.query({
      name: 'insert item',
      text: 'INSERT INTO items (id, category, tags, embedding) VALUES ($1, $2, $3, $4)',
      values: [row.id, row.category, [`tag ${row.id % 7}`], list(row.v)],
    });
    if (done.rowCount !== 1) check(false, `row ${id} is inserted`);
  };
  for (let id = 1; id <= 300; id++) await insert(pool, id);
  await pool.query('CREATE INDEX items_embedding_idx ON items USING vhnsw (embedding real_l2_ops) WITH (m = 12)');

  const search = async (query, {where = 'true', limit = 10, client = pool} = {}) => {
    const result = await client.query(
      `SELECT id, embedding <-> $1::real[] AS distance FROM items WHERE ${where} ORDER BY embedding <-> $1::real[] LIMIT ${limit}`,
      [list(query)]);
    return result.rows;
  };
  const searchAgrees = async (name, options = {}, matches = () => true) => {
    for (let i = 0; i < 5; i++) {
      const query = vector(dims);
      const found = await search(query, options);
      same(found.map(({id}) => id), nearest(rows.filter(matches), '<->', query, options.limit || 10), `${name}, query ${i + 1}`);
    }
  };

  const plan = await pool.query('EXPLAIN SELECT id FROM items ORDER BY embedding <-> $1::real[] LIMIT 10', [list(vector(dims))]);
  check(/Index Scan using items_embedding_idx/.test(plan.rows.map((row) => row['QUERY PLAN']).join('\n')), 'a search uses the index', plan.rows);
  await searchAgrees('rows of before CREATE INDEX are found');

  // A vector comes back as it went in, and its distance is the one that JavaScript computes.
  const first = rows[0];
  const stored = await pool.query('SELECT embedding FROM items WHERE id = $1', [first.id]);
  same(list(Float32Array.from(stored.rows[0].embedding)), list(first.v), 'a vector is an array of numbers, unchanged');
  const [self, second] = await search(first.v, {limit: 2});
  check(self.id === first.id && self.distance === 0, 'a row is its own nearest, at distance 0', self);
  check(Math.abs(second.distance - distances['<->'](rows.find(({id}) => id === second.id).v, first.v)) < 1e-6,
    'a distance is a number, and right', second);

  // Several connections insert at once.
  const ids = Array.from({length: 400}, (_, i) => 301 + i);
  await Promise.all(ids.map((id) => insert(pool, id)));
  await searchAgrees('rows of four connections are found');

  // One statement of many rows.
  const batch = Array.from({length: 50}, (_, i) => ({id: 701 + i, category: 1, v: vector(dims)}));
  rows.push(...batch);
  const many = await pool.query(
    `INSERT INTO items (id, category, embedding)
     SELECT (row->>'id')::int, (row->>'category')::int, ARRAY(SELECT x::real FROM jsonb_array_elements_text(row->'v') x)
     FROM jsonb_array_elements($1::jsonb) row`, [JSON.stringify(batch.map((row) => ({...row, v: list(row.v)})))]);
  check(many.rowCount === 50, 'a batch is inserted', many.rowCount);
  await searchAgrees('rows of a batch are found');

  // Conditions.
  await searchAgrees('a filter', {where: 'category = 2'}, ({category}) => category === 2);
  await searchAgrees('a filter on an array', {where: "'tag 3' = ANY (tags)"}, ({id}) => id % 7 === 3 && id <= 700);
  same(await search(vector(dims), {where: 'category = 77'}), [], 'a filter that nothing meets');

  // Transactions: own rows are found before the commit, nobody's after a rollback.
  const client = await pool.connect();
  try {
    const mine = vector(dims);
    await client.query('BEGIN');
    await client.query('INSERT INTO items (id, embedding) VALUES ($1, $2)', [9999, list(mine)]);
    check((await search(mine, {limit: 1, client}))[0].id === 9999, 'a transaction finds its own row');
    check((await search(mine, {limit: 1}))[0].id !== 9999, 'another one does not');
    await client.query('ROLLBACK');
    check((await search(mine, {limit: 1}))[0].id !== 9999, 'nobody does after a rollback');
    await client.query('BEGIN');
    await client.query('SET LOCAL vhnsw.ef_search = 17');
    same((await client.query('SHOW vhnsw.ef_search')).rows[0]['vhnsw.ef_search'], '17', 'a setting for one transaction');
    await client.query('COMMIT');
    same((await client.query('SHOW vhnsw.ef_search')).rows[0]['vhnsw.ef_search'], '1000', 'ends with it');
  } finally {
    client.release();
  }

  // A cursor reads on by the index.
  const reader = await pool.connect();
  const query = vector(dims);
  await reader.query('BEGIN');
  await reader.query(`DECLARE c CURSOR FOR SELECT id FROM items ORDER BY embedding <-> '{${list(query)}}'`);
  const read = [];
  for (let i = 0; i < 4; i++) read.push(...(await reader.query('FETCH 5 FROM c')).rows.map(({id}) => id));
  await reader.query('COMMIT');
  reader.release();
  same(read, nearest(rows, '<->', query, 20), 'a cursor gives the rows in order');

  // Updates and deletes.
  for (const row of rows.filter(({id}) => id % 3 === 0)) {
    row.v = vector(dims);
    await pool.query('UPDATE items SET embedding = $2 WHERE id = $1', [row.id, list(row.v)]);
  }
  await searchAgrees('updated rows are found where they are now');
  const gone = await pool.query('DELETE FROM items WHERE category = $1', [3]);
  check(gone.rowCount === rows.filter(({category}) => category === 3).length, 'rows are deleted', gone.rowCount);
  rows.splice(0, rows.length, ...rows.filter(({category}) => category !== 3));
  await searchAgrees('deleted rows are not found');
  await pool.query('VACUUM items');
  await searchAgrees('nor after VACUUM');

  // What is refused, with the SQLSTATE that a program can tell it by.
  const wrongDims = await errorOf(pool, 'INSERT INTO items (id, embedding) VALUES (1000, $1)', [[1, 2, 3]]);
  check(wrongDims && wrongDims.code === '22000' && /expected 24 dimensions, not 3/.test(wrongDims.message), 'wrong dimensions are refused', wrongDims);
  const nan = await errorOf(pool, 'INSERT INTO items (id, embedding) VALUES (1000, $1)', [[NaN, ...new Array(dims - 1).fill(0)]]);
  check(nan && nan.code === '22003', 'NaN is refused', nan);
  const holes = await errorOf(pool, 'INSERT INTO items (id, embedding) VALUES (1000, $1)', [[null, ...new Array(dims - 1).fill(0)]]);
  check(holes && holes.code === '22004', 'NULL within a vector is refused', holes);
  await pool.query('INSERT INTO items (id, embedding) VALUES (1000, NULL)');
  await searchAgrees('a row without a vector is in nobody\'s way');

  // The other operators.
  await pool.query(`CREATE INDEX ON items USING vhnsw (embedding real_ip_ops);
                    CREATE INDEX ON items USING vhnsw (embedding real_cosine_ops);
                    CREATE INDEX ON items USING vhnsw (embedding real_l1_ops)`);
  for (const operator of ['<#>', '<=>', '<+>']) {
    const wanted = vector(dims);
    const found = await pool.query(`SELECT id FROM items ORDER BY embedding ${operator} $1::real[] LIMIT 10`, [list(wanted)]);
    same(found.rows.map(({id}) => id), nearest(rows, operator, wanted, 10), `operator ${operator}`);
  }

  // Views and functions.
  const durable = await pool.query('SELECT vec_checkpoint() AS indexes');
  check(Number(durable.rows[0].indexes) >= 4, 'vec_checkpoint makes the indexes durable, those of other databases too', durable.rows);
  const state = await pool.query("SELECT entries, tail_length, last_error FROM vec_indexes WHERE index = 'items_embedding_idx'::regclass");
  same(state.rows[0].tail_length, '0', 'vec_indexes after a checkpoint: no tail');
  same(state.rows[0].last_error, null, 'and no error');
  await searchAgrees('searches after a checkpoint');
  await pool.end();
});
