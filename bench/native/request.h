/* Requests: a chat of a given size in one of three dialects, told apart by the stream number in its prompt. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

struct request {
    char *bytes;
    size_t length, id_at;
    uint32_t events;
    bool stream;
    const char *last_word, *unasked;
};

static const char PROSE[] = "Please read the following notes with care, then say what they have in common.\\n";

/* Makes one request of `want.body` bytes; the stream number at id_at is filled in before each send. */
static void make_request(struct request *r, bool stream, const char *model)
{
    static const char NUMBER[] = "stream-000000000 ";
    const char *usage = want.usage ? ",\"stream_options\":{\"include_usage\":true}" : "";
    char before[512], after[64], path[256];
    bool gemini = !strcmp(want.dialect, "gemini"), anthropic = !strcmp(want.dialect, "anthropic");
    if (gemini) {
        snprintf(path, sizeof path, "/v1beta/models/%s:%s", model,
                 stream ? "streamGenerateContent?alt=sse" : "generateContent");
        snprintf(before, sizeof before, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"");
        snprintf(after, sizeof after, "\"}]}]}");
    } else {
        snprintf(path, sizeof path, "%s", want.path ? want.path : anthropic ? "/v1/messages" : "/v1/chat/completions");
        snprintf(before, sizeof before, "{\"model\":\"%s\",\"max_tokens\":1024,\"temperature\":0.7%s%s,\"messages\":"
                 "[{\"role\":\"user\",\"content\":\"", model, stream ? ",\"stream\":true" : "", stream ? usage : "");
        snprintf(after, sizeof after, "\"}]}");
    }
    size_t fixed = strlen(before) + sizeof NUMBER - 1 + strlen(after);
    size_t filler = want.body > fixed ? want.body - fixed : 0;
    char *at = r->bytes = malloc(fixed + filler + 2048);
    if (!at)
        abort();
    at += sprintf(at, "POST %s HTTP/1.1\r\nhost: %s:%d\r\nauthorization: Bearer %s\r\n"
                  "content-type: application/json\r\naccept: %s\r\nuser-agent: fastanchor-bench\r\n"
                  "%scontent-length: %zu\r\n\r\n",
                  path, want.host, want.port, want.key, stream ? "text/event-stream" : "application/json",
                  anthropic ? "anthropic-version: 2023-06-01\r\n" : "", fixed + filler);
    at = stpcpy(at, before);
    r->id_at = (size_t)(at - r->bytes) + 7;
    at = stpcpy(at, NUMBER);
    for (size_t i = 0; i < filler; i++)
        *at++ = PROSE[i % (sizeof PROSE - 1)];
    if (filler && at[-1] == '\\')
        at[-1] = '.';             /* a cut escape */
    at = stpcpy(at, after);
    r->length = (size_t)(at - r->bytes);
    r->stream = stream;
    r->events = 1;
    if (stream && sscanf(model, "bench-n%u", &r->events) != 1) {
        fprintf(stderr, "load: the model of a stream must be named bench-nN-pP\n");
        exit(2);
    }
    r->unasked = stream && !gemini && !anthropic && !want.usage ? "\"choices\":[]" : NULL;
    r->last_word = !stream ? "}" : gemini ? "\"finishReason\":\"STOP\""
                   : anthropic ? "\"message_stop\"" : "data: [DONE]";
}

static void number_request(struct request *r, uint32_t id)
{
    char *digits = r->bytes + r->id_at;
    for (uint32_t i = 9; i-- > 0; id /= 10)
        digits[i] = (char)('0' + id % 10);
}
