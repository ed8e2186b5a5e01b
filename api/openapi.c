/* docs/openapi.json, kept inside the program so that every node can serve its own contract. */
#include "api/handlers.h"
#include "api/problem.h"

#if __has_include("docs/openapi.json")

__asm__(".section .rodata\n"
        ".global holdfast_openapi\n"
        "holdfast_openapi:\n"
        ".incbin \"" HOLDFAST_SOURCE "/docs/openapi.json\"\n"
        ".global holdfast_openapi_end\n"
        "holdfast_openapi_end:\n"
        ".previous\n");

extern const char holdfast_openapi[];
extern const char holdfast_openapi_end[];

void openapi_get(struct request *request)
{
    struct response response = {.status = 200};

    buffer_append(&response.body, holdfast_openapi,
                  (size_t)(holdfast_openapi_end - holdfast_openapi));
    request_respond(request, &response);
}

#else

void openapi_get(struct request *request)
{
    request_fail(request, PROBLEM_NOT_FOUND, "this build came without its contract");
}

#endif
