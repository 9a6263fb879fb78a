// What the client tests share: a check prints one line, which the TAP test turns into a test of its own.
'use strict';

let failed = 0;

function check(condition, name, seen) {
  if (!condition) failed++;
  console.log(`${condition ? 'ok' : 'not ok'} ${name}`);
  if (!condition && seen !== undefined) console.log(`  ${JSON.stringify(seen)}`);
}

function same(got, expected, name) {
  check(JSON.stringify(got) === JSON.stringify(expected), name, {got, expected});
}

// The error of a query that must fail, or undefined.
async function errorOf(client, ...query) {
  try {
    await client.query(...query);
  } catch (error) {
    return error;
  }
  return undefined;
}

// Random vectors from a seed, float32.
function generator(seed) {
  let state = seed >>> 0;
  return (dims) => Float32Array.from({length: dims}, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

const distances = {
  '<->': (a, b) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0)),
  '<#>': (a, b) => -a.reduce((sum, x, i) => sum + x * b[i], 0),
  '<=>': (a, b) => 1 + distances['<#>'](a, b) / Math.sqrt(distances['<#>'](a, a) * distances['<#>'](b, b)),
  '<+>': (a, b) => a.reduce((sum, x, i) => sum + Math.abs(x - b[i]), 0),
};

// The ids of the nearest of [{id, v}].
function nearest(rows, operator, query, limit) {
  return rows.map(({id, v}) => ({id, d: distances[operator](v, query)}))
    .sort((a, b) => a.d - b.d).slice(0, limit).map(({id}) => id);
}

// Runs a test function and ends the process: 0 if all checks held.
function run(test) {
  test().then(() => {
    console.log('done');
    process.exit(failed ? 1 : 0);
  }, (error) => {
    console.log(`not ok the script runs to its end\n  ${error.stack}`);
    process.exit(1);
  });
}

module.exports = {check, same, errorOf, generator, distances, nearest, run};
