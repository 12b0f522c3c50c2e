// The npm libraries of OpenAI, Anthropic and Vercel against a gateway: a stream of text, and one that calls a tool.
// node clients.mjs BASE_URL MODEL… writes one line of JSON per case: {name, model, text, tools}.
// Run from the directory whose node_modules has them.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const [baseURL, ...models] = process.argv.slice(2);
const ASK = "Hello";
const USE = "What is the weather? use the tool";
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const message = (content) => [{ role: "user", content }];

async function openaiChat(model) {
  const { default: OpenAI } = await load("openai");
  const client = new OpenAI({ apiKey: "k", baseURL: baseURL + "/v1", maxRetries: 0 });
  const plain = await client.chat.completions.stream({ model, messages: message(ASK) }).finalContent();
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  const called = await client.chat.completions.stream({ model, messages: message(USE), tools }).finalMessage();
  return [plain, called.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)])];
}

async function openaiResponses(model) {
  const { default: OpenAI } = await load("openai");
  const client = new OpenAI({ apiKey: "k", baseURL: baseURL + "/v1", maxRetries: 0 });
  const plain = await client.responses.stream({ model, input: ASK }).finalResponse();
  const tools = [{ type: "function", name: "weather", parameters: schema, strict: false }];
  const called = await client.responses.stream({ model, input: USE, tools }).finalResponse();
  const calls = called.output.filter((item) => item.type === "function_call");
  return [plain.output_text, calls.map((call) => [call.name, JSON.parse(call.arguments)])];
}

async function anthropic(model) {
  const { default: Anthropic } = await load("@anthropic-ai/sdk");
  const client = new Anthropic({ apiKey: "k", baseURL, maxRetries: 0 });
  const plain = await client.messages.stream({ model, max_tokens: 512, messages: message(ASK) }).finalText();
  const tools = [{ name: "weather", input_schema: schema }];
  const called = await client.messages.stream({ model, max_tokens: 512, messages: message(USE), tools }).finalMessage();
  return [plain, called.content.filter((b) => b.type === "tool_use").map((b) => [b.name, b.input])];
}

async function vercel(model) {
  const { streamText, tool, jsonSchema } = await load("ai");
  const told = async (more) => {
    const stream = streamText({ model, maxRetries: 0, ...more });
    let text = "";
    const calls = [];
    for await (const part of stream.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text ?? part.delta;
      if (part.type === "tool-call") calls.push([part.toolName, part.input]);
    }
    return [text, calls];
  };
  const weather = tool({ description: "Tells the weather.", inputSchema: jsonSchema(schema) });
  const [text] = await told({ prompt: ASK });
  const [, calls] = await told({ prompt: USE, tools: { weather } });
  return [text, calls];
}

async function vercelChat(model) {
  const { createOpenAI } = await load("@ai-sdk/openai");
  return vercel(createOpenAI({ apiKey: "k", baseURL: baseURL + "/v1" }).chat(model));
}

async function vercelResponses(model) {
  const { createOpenAI } = await load("@ai-sdk/openai");
  return vercel(createOpenAI({ apiKey: "k", baseURL: baseURL + "/v1" }).responses(model));
}

async function vercelAnthropic(model) {
  const { createAnthropic } = await load("@ai-sdk/anthropic");
  return vercel(createAnthropic({ apiKey: "k", baseURL: baseURL + "/v1" })(model));
}

for (const make of [openaiChat, openaiResponses, anthropic, vercelChat, vercelResponses, vercelAnthropic]) {
  for (const model of models) {
    const [text, tools] = await make(model);
    console.log(JSON.stringify({ name: make.name, model, text, tools }));
  }
}
