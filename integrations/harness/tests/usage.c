/* Reads an answer from standard input, so many bytes at a time, and prints its counts; -1 for what is not known. */
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    unsigned char piece[65536];
    size_t most = count > 1 ? (size_t) atoi(arguments[1]) : sizeof(piece), length;
    pointsman_completion completion = POINTSMAN_COMPLETION_INIT;
    usage_reader reader;
    memset(&reader, 0, sizeof(reader));
    while ((length = fread(piece, 1, most < sizeof(piece) ? most : sizeof(piece), stdin)) > 0) {
        usage_push(&reader, piece, length);
    }
    usage_report(&reader, &completion);
    return printf("%d %d %d\n", (int) completion.prompt_tokens, (int) completion.cached_tokens,
                  (int) completion.completion_tokens) < 0;
}
