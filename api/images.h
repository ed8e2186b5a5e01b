/* Answers that are an image, or a part of one (image_spool.h), with its tag. */
#ifndef HOLDFAST_API_IMAGES_H
#define HOLDFAST_API_IMAGES_H

#include "api/request.h"
#include "storage/image_spool.h"

/* A request that waits for an image. */
struct images_waiting {
    struct image_spool_request asked; /* What is wanted: the caller's. */
    /* Private. */
    struct request *request;
    struct image_spools *spools;
};

/* Answer with the image from @source ("": of the state) that the client has a part of already, if
 * it names one that is there; else false. */
bool images_answer_named(struct request *request, struct image_spools *spools, const char *source);

/* Prepare to wait, in @request->state; then fill in what is wanted. */
struct images_waiting *images_wait_for(struct request *request, struct image_spools *spools);
/* Ask for it. The request is answered with it, now or later. */
void images_ask(struct images_waiting *waiting);

#endif
