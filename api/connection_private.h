/* A connection, for those who work on it: connection.c, and connections.c for all of a thread. */
#ifndef HOLDFAST_API_CONNECTION_PRIVATE_H
#define HOLDFAST_API_CONNECTION_PRIVATE_H

#include "api/connection.h"
#include "api/http.h"

enum connection_state { IDLE, READING, WORKING, STREAMING, ENDING, CLOSED, STATES };

struct connection {
    struct connections *all;
    struct link link;  /* In all->all. */
    struct link dirty; /* In all->dirty if is_dirty. */
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    enum connection_state state;
    bool is_reading; /* libuv reads for us. */
    bool is_dirty;
    bool is_writing; /* libuv writes what is in sending. */
    bool is_shut;    /* Our side was shut. */
    bool is_processing;
    bool is_closed;    /* The handle is. */
    bool at_end;       /* The client closed its side. */
    bool keep_alive;   /* After the current answer. */
    bool continued;    /* "100 Continue" was sent, or is not needed any more. */
    uint64_t since_ms; /* The state began, or within READING the body did. */
    uint64_t progress_ms;
    size_t unsent_then; /* At progress_ms. */
    size_t large_bytes; /* Its part of shared->large_bytes. */
    struct buffer in;   /* The message begins at start. */
    size_t start;
    size_t discarded_bytes;     /* Since the last answer. */
    struct buffer ahead;        /* What came while a request was worked on. */
    struct buffer out;          /* Answers that wait for the end of the turn. */
    struct buffer sending;      /* Answers that libuv is writing. */
    struct body_source *source; /* STREAMING. */
    uint64_t streamed_bytes;    /* Of it. */
    struct http http;
    struct request request;
};

uint64_t connection_now_ms(const struct connection *c);

/* Has the client sent something that was not looked at yet? */
bool connection_has_input(const struct connection *c);

/* Have libuv read, or not: by the connection's state, and by what it holds already. */
void connection_update_reading(struct connection *c);

/* Count its buffers with those of all. */
void connection_count_memory(struct connection *c);

/* Answer what it asks, or would have asked, with @problem; it ends then. */
void connection_refuse(struct connection *c, enum problem problem, const char *detail);

/* Send what was answered, and shut it. */
void connection_end(struct connection *c);

/* Close it now; its memory goes when its request is answered. */
void connection_close(struct connection *c);

#endif
