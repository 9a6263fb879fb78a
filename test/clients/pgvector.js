// The npm package pgvector with node-postgres: vector and halfvec columns, indexes of vhnsw instead of hnsw. Nothing else
// differs from what its documentation shows.
'use strict';

const {Client} = require('pg');
const pgvector = require('pgvector/pg');
const {check, same, errorOf, generator, nearest, run} = require('./checks.js');

const dims = 16;
const random = generator(Number(process.env.SEED || 1));
// Multiples of 1/64: halfvec holds them exactly too.
const vector = (n) => random(n).map((x) => Math.round(x * 64) / 64);
const operators = {l2: '<->', ip: '<#>', cosine: '<=>', l1: '<+>'};

run(async () => {
  const client = new Client({options: '-c enable_seqscan=off -c vhnsw.ef_search=1000'});
  await client.connect();
  await client.query('CREATE EXTENSION vecckpt_pgvector CASCADE');
  await pgvector.registerTypes(client);

  for (const type of ['vector', 'halfvec']) {
    await client.query(`CREATE TABLE ${type}_items (id serial PRIMARY KEY, category int, embedding ${type}(${dims}))`);
    for (const name of Object.keys(operators))
      await client.query(`CREATE INDEX ${type}_${name} ON ${type}_items USING vhnsw (embedding ${type}_${name}_ops)`);
    const rows = [];
    for (let i = 0; i < 400; i++) {
      const v = vector(dims);
      const done = await client.query(`INSERT INTO ${type}_items (category, embedding) VALUES ($1, $2) RETURNING id`, [i % 3, pgvector.toSql(Array.from(v))]);
      rows.push({id: done.rows[0].id, category: i % 3, v});
    }
    const agrees = async (what, where = 'true', matches = () => true) => {
      for (const [name, operator] of Object.entries(operators)) {
        const query = vector(dims);
        const text = `SELECT id FROM ${type}_items WHERE ${where} ORDER BY embedding ${operator} $1 LIMIT 1`;
        const found = await client.query(text, [pgvector.toSql(Array.from(query))]);
        // Nearest only: rows at equal distances may come in any order.
        const d = (id) => nearest(rows.filter(matches), operator, query, 5).indexOf(id);
        check(found.rows.length === 1 && d(found.rows[0].id) >= 0 && d(found.rows[0].id) <= 1, `${type}, ${operator}: ${what}`, found.rows);
        const plan = await client.query(`EXPLAIN ${text}`, [pgvector.toSql(Array.from(query))]);
        check(plan.rows.some((row) => row['QUERY PLAN'].includes(`using ${type}_${name}`)), `${type}, ${operator}: by the index`, plan.rows);
      }
    };
    const stored = await client.query(`SELECT embedding FROM ${type}_items WHERE id = $1`, [rows[0].id]);
    same(stored.rows[0].embedding, Array.from(rows[0].v), `${type}: a vector comes back as the package's array`);
    await agrees('rows are found');
    await agrees('a filter', 'category = 1', ({category}) => category === 1);
    for (const row of rows.filter(({id}) => id % 5 === 0)) {
      row.v = vector(dims);
      await client.query(`UPDATE ${type}_items SET embedding = $2 WHERE id = $1`, [row.id, pgvector.toSql(Array.from(row.v))]);
    }
    await agrees('updated rows are found');
    await client.query(`DELETE FROM ${type}_items WHERE category = 2`);
    rows.splice(0, rows.length, ...rows.filter(({category}) => category !== 2));
    await agrees('deleted rows are not found');
    const wrong = await errorOf(client, `INSERT INTO ${type}_items (embedding) VALUES ($1)`, [pgvector.toSql([1, 2, 3])]);
    check(wrong && /expected 16 dimensions, not 3/.test(wrong.message), `${type}: wrong dimensions are refused`, wrong);
  }
  await client.query('SELECT vec_checkpoint()');
  same((await client.query('SELECT count(*) FROM vec_indexes WHERE last_error IS NOT NULL')).rows[0].count, '0', 'no index has an error');
  await client.end();
});
