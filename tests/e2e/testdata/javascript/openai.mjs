// The official SDK, unmodified, against a gateway: node openai.mjs BASE_URL MODEL CANARY. One line per check; the exit code
// is the number of checks that failed.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [baseURL, model, canary] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user', content: `hi ${canary}` }];
const words = 'Hello from a scripted model running inside llama-server.';

const checks = {
  async models() {
    const list = await client.models.list();
    assert.ok(list.data.some((m) => m.id === model), JSON.stringify(list.data));
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async chat() {
    const { data, response } = await client.chat.completions.create({ model, messages, temperature: 0 }).withResponse();
    assert.equal(data.choices[0].message.content, words);
    assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    assert.match(response.headers.get('x-receipt-id'), /^[0-9a-f]{64}$/);
  },
  async 'stream with usage'() {
    const stream = await client.chat.completions.create({ model, messages, temperature: 0, stream: true, stream_options: { include_usage: true } });
    let text = '', usage, finish;
    for await (const event of stream) {
      text += event.choices[0]?.delta?.content ?? '';
      finish = event.choices[0]?.finish_reason ?? finish;
      usage = event.usage ?? usage;
    }
    assert.equal(text, words);
    assert.equal(finish, 'stop');
    assert.equal(usage.completion_tokens, 11);
  },
  async 'stream without usage'() {
    const stream = await client.chat.completions.create({ model, messages, temperature: 0, stream: true });
    for await (const event of stream) assert.ok(!event.usage, JSON.stringify(event));
  },
  async 'json schema'() {
    const schema = { type: 'object', properties: { answer: { type: 'boolean' } }, required: ['answer'], additionalProperties: false };
    const got = await client.chat.completions.create({
      model, messages: [{ role: 'user', content: 'json' }], max_tokens: 60,
      response_format: { type: 'json_schema', json_schema: { name: 'a', strict: true, schema } },
    });
    assert.equal(typeof JSON.parse(got.choices[0].message.content).answer, 'boolean');
  },
  async tools() {
    const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];
    const got = await client.chat.completions.create({ model, messages: [{ role: 'user', content: 'weather?' }], tools });
    const call = got.choices[0].message.tool_calls[0];
    assert.equal(got.choices[0].finish_reason, 'tool_calls');
    assert.equal(call.function.name, 'get_weather');
    assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Paris' });
  },
  async logprobs() {
    const got = await client.chat.completions.create({ model, messages, logprobs: true, top_logprobs: 2, max_tokens: 3 });
    assert.equal(got.choices[0].logprobs.content[0].top_logprobs.length, 2);
  },
  async completions() {
    const got = await client.completions.create({ model, prompt: 'hi', max_tokens: 4 });
    assert.equal(typeof got.choices[0].text, 'string');
  },
  async responses() {
    const got = await client.responses.create({ model, input: 'hi' });
    assert.equal(got.output_text, words);
  },
  async 'unknown model'() {
    await assert.rejects(client.chat.completions.create({ model: 'no/such', messages }), (e) => e instanceof OpenAI.NotFoundError && !!e.code);
  },
  async 'bad parameter'() {
    await assert.rejects(client.chat.completions.create({ model, messages, max_tokens: -1 }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'max_tokens');
  },
  async 'embeddings of a chat model'() {
    await assert.rejects(client.embeddings.create({ model, input: 'hi' }), (e) => e instanceof OpenAI.APIError && e.status >= 400);
  },
  async abort() {
    const stream = await client.chat.completions.create({ model, messages: [{ role: 'user', content: 'loop' }], stream: true, max_tokens: 900 });
    let seen = 0;
    for await (const event of stream) {
      if (event.choices.length > 0 && ++seen === 3) stream.controller.abort();
    }
    assert.ok(seen < 900);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (e) {
    failed++;
    console.log(`FAILED ${name}: ${String(e.message).slice(0, 600)}`);
  }
}
process.exit(failed);
