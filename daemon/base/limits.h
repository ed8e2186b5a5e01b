/* Every maximum of Holdfast, with its reason. Those that clients meet are part of the API. */
#ifndef HOLDFAST_BASE_LIMITS_H
#define HOLDFAST_BASE_LIMITS_H

/* Clients: part of the API. */
#define LIMIT_BODY_BYTES            (4u << 20)   /* One request body, and one transaction. */
#define LIMIT_STATE_BYTES           (256u << 10) /* A session's state, as compact JSON. */
#define LIMIT_EVENT_DATA_BYTES      (256u << 10) /* One event's data, as compact JSON. */
#define LIMIT_ITEM_BYTES            (1u << 20)   /* One item's value. */
#define LIMIT_LOG_EVENTS            50000u       /* Live events of one session. */
#define LIMIT_LOG_BYTES             (64u << 20)  /* Live bytes of one session's events. */
#define LIMIT_TRANSACTION_OPS       64u          /* Operations of one transaction. */
#define LIMIT_APPEND_EVENTS         256u         /* Events of one append. */
#define LIMIT_NAMESPACE_BYTES       63u          /* A namespace's name. */
#define LIMIT_ID_BYTES              128u /* Session ids, event ids, agent_id, user_id, ... */
#define LIMIT_TYPE_BYTES            128u /* An event's type. */
#define LIMIT_ITEM_KEY_BYTES        384u /* An item's key: an index key still fits LMDB's 511. */
#define LIMIT_IDEMPOTENCY_KEY_BYTES 128u
#define LIMIT_METADATA_PAIRS        16u
#define LIMIT_METADATA_KEY_BYTES    64u
#define LIMIT_METADATA_VALUE_BYTES  512u
#define LIMIT_JSON_DEPTH            64u
#define LIMIT_TTL_MS                1000000000000ull /* 10^12 ms, about 31 years. */
#define LIMIT_PAGE_ROWS             500u
#define LIMIT_PAGE_ROWS_DEFAULT     50u
#define LIMIT_PAGE_BYTES            (1u << 20)
#define LIMIT_PAGE_SCAN             5000u /* Rows looked at for one page: bounds a read. */
#define LIMIT_PREFIX_DELETE_ITEMS   1000u /* Items removed by one entry. */
#define LIMIT_PREFIX_DELETE_BYTES   (16u << 20)
#define LIMIT_CONTENT_TYPE_BYTES    128u
#define LIMIT_TAGS                  16u /* Entity tags in one If-Match. */

/* Durations of the state machine, in milliseconds of the cluster's time. */
#define LIMIT_IDEMPOTENCY_MS      (24ull * 3600 * 1000)
#define LIMIT_TOMBSTONE_MS        (24ull * 3600 * 1000)
#define LIMIT_CHANGES_MS          (3600ull * 1000)
#define LIMIT_CHANGES             1000000u
#define LIMIT_MAINTENANCE_RECORDS 500u /* Records one maintenance step touches. */

/* Waiting, in milliseconds. */
#define LIMIT_NO_LEADER_WAIT_MS 1000u /* A request waits this long for a leader. */
#define LIMIT_OUTCOME_WAIT_MS   5000u /* Then the outcome is called unknown. */
#define LIMIT_REPLICA_WAIT_MS   1000u /* min_revision and ReadIndex wait this long. */

/* HTTP: what one connection may ask for or hold. */
#define LIMIT_TARGET_BYTES         (8u << 10)   /* A request's target: 414 beyond. */
#define LIMIT_HEADER_BYTES         (32u << 10)  /* All header fields of a request: 431 beyond. */
#define LIMIT_HEADER_FIELDS        100u         /* Their number: 431 beyond. */
#define LIMIT_CHUNK_OVERHEAD_BYTES (8u << 10)   /* Between two pieces of a chunked body. */
#define LIMIT_AHEAD_BYTES          (64u << 10)  /* Read while a response is pending. */
#define LIMIT_UNSENT_BYTES         (256u << 10) /* Unsent answers beyond which no request starts. */
#define LIMIT_LARGE_BODIES_BYTES   (256u << 20) /* Memory of all bodies above LIMIT_AHEAD_BYTES. */
#define LIMIT_DISCARDED_BYTES      (16u << 20)  /* Read behind the last answer: then cut. */
#define LIMIT_CONNECTIONS          65536u       /* Default of --max-connections. */

/* Inside. */
#define LIMIT_ENTRY_BYTES       (256u << 10) /* One log entry, unless one command is larger. */
#define LIMIT_ENTRIES_IN_FLIGHT 2u           /* Entries proposed and not committed. */
#define LIMIT_COMMAND_BYTES     (5u << 20)  /* One encoded command: a full body and its envelope. */
#define LIMIT_PENDING_COMMANDS  65536u      /* Commands that wait on one node, sent or not. */
#define LIMIT_PENDING_BYTES     (64u << 20) /* Their bytes. */
#define LIMIT_PENDING_READS     65536u      /* ReadIndex requests that wait on one node. */
#define LIMIT_PENDING_CHANGES   64u         /* Changes of members that wait on one node. */
#define LIMIT_UNEXECUTED_BYTES  (8u << 20)  /* Committed, not executed: a leader waits beyond. */
#define LIMIT_APPLY_BYTES       (64u << 20) /* Committed entries that wait for the apply thread. */
#define LIMIT_REPLAY_ENTRIES    4096u        /* A new node gets the state instead of more. */
#define LIMIT_REPLAY_RATE       (16u << 20)  /* Bytes per second of log that its state is ahead of. */
#define LIMIT_FLUSH_BYTES       (32u << 20) /* Executed, not in LMDB: a flush begins ... */
#define LIMIT_FLUSH_RECORDS     65536u /* ... or with so many records: each may dirty a page. */
#define LIMIT_PEER_QUEUE_BYTES  (32u << 20) /* Bytes queued towards one peer. */
#define LIMIT_FRAME_BYTES       (8u << 20) /* One frame between peers: a bundle and its envelope. */
#define LIMIT_STATE_PULLS       16u          /* Pieces of a state that are asked for at a time. */
#define LIMIT_TRANSFER_RATE     (64u << 20)  /* Bytes of state per second to all who get it. */
#define LIMIT_MEMBERS           15u        /* Members of one cluster, of all roles. */
#define LIMIT_NAME_BYTES        63u        /* A member's name. */
#define LIMIT_ADDRESS_BYTES     261u       /* HOST:PORT, with a host name of 255 bytes. */
#define LIMIT_STATE_KEY_BYTES   511u       /* LMDB's own limit. */

/* The archive. */
#define LIMIT_JOURNAL_BYTES           (4ull << 30) /* What is not archived yet: hours of writes. */
#define LIMIT_JOURNAL_FILE_BYTES      (8u << 20)   /* Removed as a whole. */
#define LIMIT_JOURNAL_UNWRITTEN_BYTES (32u << 20)  /* In memory: a slow disk makes a gap beyond. */

/* Images of the state in files of this node. */
#define LIMIT_SPOOL_FILES    4u                  /* Each may be as large as the state. */
#define LIMIT_SPOOL_KEEP_MS  (5u * 60 * 1000)    /* Unused: a broken download can go on until then. */
#define LIMIT_SPOOL_AGE_MS   (6u * 3600 * 1000)  /* Then its readers are cut off. */
#define LIMIT_SPOOL_REQUESTS 256u                /* That wait for one. */
#define LIMIT_STREAM_BYTES   (128u << 10)        /* Of a file, on its way to one client. */

#endif
