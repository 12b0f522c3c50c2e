/* What the stub says, in the words of each API: the texts around its marks. $ stands for the model name. */
#pragma once

struct dialect {
    const char *open;         /* what precedes the first delta */
    const char *delta[2];     /* before and after the mark */
    const char *close;        /* what follows the last delta */
    const char *plain[2];     /* the unstreamed answer, before and after the mark and the filler */
};

static const char FILLER[] =
    "The quick brown fox jumps over the lazy dog while the provider thinks about what to say next. "
    "A plain answer of about one kilobyte is what most short questions get, so this one is as long as that. "
    "It has some commas, a quote \\\"like this\\\", a line break\\nand nothing else that a parser would stumble over. "
    "The rest is here for its length only: one, two, three, four, five, six, seven, eight, nine, ten, eleven. "
    "And once more, for the same reason: twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen.";

static const struct dialect OPENAI = {
    .open = "",
    .delta = {"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"$\","
              "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,\"delta\":"
              "{\"content\":\"",
              " word\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"},
    .close = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"$\","
             "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,\"delta\":{},"
             "\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n",
    .plain = {"{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1754000000,\"model\":\"$\",\"choices\":"
              "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
              "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":"
              "{\"prompt_tokens\":200,\"completion_tokens\":100,\"total_tokens\":300,\"prompt_tokens_details\":"
              "{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}},"
              "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}"},
};

/* OpenAI, asked for usage: every chunk says "usage":null but one, as the vendor does. */
static const struct dialect OPENAI_USAGE = {
    .open = "",
    .delta = {"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"$\","
              "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,\"delta\":"
              "{\"content\":\"",
              " word\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"},
    .close = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"$\","
             "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,\"delta\":{},"
             "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
             "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"$\","
             "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":200,"
             "\"completion_tokens\":100,\"total_tokens\":300,\"prompt_tokens_details\":{\"cached_tokens\":0},"
             "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
};

static const char OPENAI_DONE[] = "data: [DONE]\n\n";

static const struct dialect ANTHROPIC = {
    .open = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_bench\",\"type\":\"message\","
            "\"role\":\"assistant\",\"model\":\"$\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":"
            "{\"input_tokens\":200,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n"
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
            "{\"type\":\"text\",\"text\":\"\"}}\n\n",
    .delta = {"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
              "{\"type\":\"text_delta\",\"text\":\"",
              " word\"}}\n\n"},
    .close = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
             "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
             "\"stop_sequence\":null},\"usage\":{\"output_tokens\":100}}\n\n"
             "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    .plain = {"{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"$\",\"content\":"
              "[{\"type\":\"text\",\"text\":\"",
              "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":200,"
              "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":100}}"},
};

static const struct dialect GEMINI = {
    .open = "",
    .delta = {"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"",
              " word\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":200,"
              "\"totalTokenCount\":200},\"modelVersion\":\"$\",\"responseId\":\"bench\"}\r\n\r\n"},
    .close = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\","
             "\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":200,\"candidatesTokenCount\":100,"
             "\"totalTokenCount\":300},\"modelVersion\":\"$\",\"responseId\":\"bench\"}\r\n\r\n",
    .plain = {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"",
              "\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":200,"
              "\"candidatesTokenCount\":100,\"totalTokenCount\":300},\"modelVersion\":\"$\",\"responseId\":\"bench\"}"},
};
