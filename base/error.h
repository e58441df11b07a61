/* The one list of errors: what functions return is 0 or one of these, all negative. Each has the gRPC code and the
 * exact text that etcd's clients know (errors.tsv, kinds server and server-unmapped); those that never reach a client
 * have a text for the log. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* gRPC status codes, as on the wire. */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* X(name, gRPC code, text) */
/* clang-format off */
#define ERROR_LIST(X) \
    X(ERR_EMPTY_KEY, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided") \
    X(ERR_KEY_NOT_FOUND, GRPC_INVALID_ARGUMENT, "etcdserver: key not found") \
    X(ERR_VALUE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: value is provided") \
    X(ERR_LEASE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: lease is provided") \
    X(ERR_TOO_MANY_OPS, GRPC_INVALID_ARGUMENT, "etcdserver: too many operations in txn request") \
    X(ERR_DUPLICATE_KEY, GRPC_INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request") \
    X(ERR_INVALID_CLIENT_API_VERSION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid client api version") \
    X(ERR_INVALID_SORT_OPTION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid sort option") \
    X(ERR_COMPACTED, GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted") \
    X(ERR_FUTURE_REV, GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision") \
    X(ERR_NO_SPACE, GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded") \
    X(ERR_LEASE_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: requested lease not found") \
    X(ERR_LEASE_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists") \
    X(ERR_LEASE_TTL_TOO_LARGE, GRPC_OUT_OF_RANGE, "etcdserver: too large lease TTL") \
    X(ERR_WATCH_CANCELED, GRPC_CANCELLED, "etcdserver: watch canceled") \
    X(ERR_MEMBER_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: member ID already exist") \
    X(ERR_PEER_URL_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: Peer URLs already exists") \
    X(ERR_MEMBER_NOT_ENOUGH_STARTED, GRPC_FAILED_PRECONDITION, "etcdserver: re-configuration failed due to not enough started members") \
    X(ERR_MEMBER_BAD_URLS, GRPC_INVALID_ARGUMENT, "etcdserver: given member URLs are invalid") \
    X(ERR_MEMBER_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: member not found") \
    X(ERR_MEMBER_NOT_LEARNER, GRPC_FAILED_PRECONDITION, "etcdserver: can only promote a learner member") \
    X(ERR_LEARNER_NOT_READY, GRPC_FAILED_PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader") \
    X(ERR_TOO_MANY_LEARNERS, GRPC_FAILED_PRECONDITION, "etcdserver: too many learner members in cluster") \
    X(ERR_CLUSTER_ID_MISMATCH, GRPC_FAILED_PRECONDITION, "etcdserver: cluster ID mismatch") \
    X(ERR_REQUEST_TOO_LARGE, GRPC_INVALID_ARGUMENT, "etcdserver: request is too large") \
    X(ERR_REQUEST_TOO_MANY_REQUESTS, GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests") \
    X(ERR_ROOT_USER_NOT_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: root user does not exist") \
    X(ERR_ROOT_ROLE_NOT_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: root user does not have root role") \
    X(ERR_USER_ALREADY_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: user name already exists") \
    X(ERR_USER_EMPTY, GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty") \
    X(ERR_USER_NOT_FOUND, GRPC_FAILED_PRECONDITION, "etcdserver: user name not found") \
    X(ERR_ROLE_ALREADY_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: role name already exists") \
    X(ERR_ROLE_NOT_FOUND, GRPC_FAILED_PRECONDITION, "etcdserver: role name not found") \
    X(ERR_ROLE_EMPTY, GRPC_INVALID_ARGUMENT, "etcdserver: role name is empty") \
    X(ERR_AUTH_FAILED, GRPC_INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password") \
    X(ERR_PERMISSION_NOT_GIVEN, GRPC_INVALID_ARGUMENT, "etcdserver: permission not given") \
    X(ERR_PERMISSION_DENIED, GRPC_PERMISSION_DENIED, "etcdserver: permission denied") \
    X(ERR_ROLE_NOT_GRANTED, GRPC_FAILED_PRECONDITION, "etcdserver: role is not granted to the user") \
    X(ERR_PERMISSION_NOT_GRANTED, GRPC_FAILED_PRECONDITION, "etcdserver: permission is not granted to the role") \
    X(ERR_AUTH_NOT_ENABLED, GRPC_FAILED_PRECONDITION, "etcdserver: authentication is not enabled") \
    X(ERR_INVALID_AUTH_TOKEN, GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token") \
    X(ERR_INVALID_AUTH_MGMT, GRPC_INVALID_ARGUMENT, "etcdserver: invalid auth management") \
    X(ERR_AUTH_OLD_REVISION, GRPC_INVALID_ARGUMENT, "etcdserver: revision of auth store is old") \
    X(ERR_NO_LEADER, GRPC_UNAVAILABLE, "etcdserver: no leader") \
    X(ERR_NOT_LEADER, GRPC_FAILED_PRECONDITION, "etcdserver: not leader") \
    X(ERR_LEADER_CHANGED, GRPC_UNAVAILABLE, "etcdserver: leader changed") \
    X(ERR_NOT_CAPABLE, GRPC_FAILED_PRECONDITION, "etcdserver: not capable") \
    X(ERR_STOPPED, GRPC_UNAVAILABLE, "etcdserver: server stopped") \
    X(ERR_TIMEOUT, GRPC_UNAVAILABLE, "etcdserver: request timed out") \
    X(ERR_TIMEOUT_DUE_TO_LEADER_FAIL, GRPC_UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure") \
    X(ERR_TIMEOUT_DUE_TO_CONNECTION_LOST, GRPC_UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost") \
    X(ERR_TIMEOUT_WAIT_APPLIED_INDEX, GRPC_UNAVAILABLE, "etcdserver: request timed out, waiting for the applied index took too long") \
    X(ERR_UNHEALTHY, GRPC_UNAVAILABLE, "etcdserver: unhealthy cluster") \
    X(ERR_CORRUPT, GRPC_DATA_LOSS, "etcdserver: corrupt cluster") \
    X(ERR_NOT_SUPPORTED_FOR_LEARNER, GRPC_FAILED_PRECONDITION, "etcdserver: rpc not supported for learner") \
    X(ERR_BAD_LEADER_TRANSFEREE, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee") \
    X(ERR_WRONG_DOWNGRADE_VERSION_FORMAT, GRPC_INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format") \
    X(ERR_INVALID_DOWNGRADE_TARGET_VERSION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid downgrade target version") \
    X(ERR_CLUSTER_VERSION_UNAVAILABLE, GRPC_FAILED_PRECONDITION, "etcdserver: cluster version not found during downgrade") \
    X(ERR_DOWNGRADE_IN_PROCESS, GRPC_FAILED_PRECONDITION, "etcdserver: cluster has a downgrade job in progress") \
    X(ERR_NO_INFLIGHT_DOWNGRADE, GRPC_FAILED_PRECONDITION, "etcdserver: no inflight downgrade job") \
    X(ERR_CANCELED, GRPC_CANCELLED, "etcdserver: request canceled") \
    X(ERR_DEADLINE_EXCEEDED, GRPC_DEADLINE_EXCEEDED, "etcdserver: context deadline exceeded") \
    X(ERR_NOT_ENOUGH_STARTED_MEMBERS, GRPC_UNKNOWN, "etcdserver: re-configuration failed due to not enough started members") \
    X(ERR_TOO_MANY_REQUESTS, GRPC_UNKNOWN, "etcdserver: too many requests") \
    X(ERR_UNKNOWN_METHOD, GRPC_UNKNOWN, "etcdserver: unknown method") \
    X(ERR_TIMEOUT_LEADER_TRANSFER, GRPC_UNKNOWN, "etcdserver: request timed out, leader transfer took too long") \
    X(ERR_NO_PASSWORD_USER, GRPC_UNKNOWN, "auth: authentication failed, password was given for no password user") \
    X(ERR_VERIFY_ONLY, GRPC_UNKNOWN, "auth: token signing attempted with verify-only key") \
    X(ERR_NOT_PRIMARY, GRPC_UNKNOWN, "not a primary lessor") \
    X(ERR_PROPOSAL_DROPPED, GRPC_UNKNOWN, "raft proposal dropped") \
    X(ERR_PASSWORD_TOO_LONG, GRPC_UNKNOWN, "bcrypt: password length exceeds 72 bytes") \
    X(ERR_MISSING_LEADER_KEY, GRPC_UNKNOWN, "\"leader\" field must be provided") \
    X(ERR_ELECTION_NOT_LEADER, GRPC_UNKNOWN, "election: not leader") \
    X(ERR_ELECTION_NO_LEADER, GRPC_UNKNOWN, "election: no leader") \
    X(ERR_MALFORMED, GRPC_INTERNAL, "malformed message") \
    X(ERR_CONTEXT_CANCELED, GRPC_CANCELLED, "context canceled") \
    X(ERR_CONTEXT_DEADLINE_EXCEEDED, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded") \
    X(ERR_UNIMPLEMENTED, GRPC_UNIMPLEMENTED, "not implemented") \
    X(ERR_STREAM_SORTED, GRPC_UNIMPLEMENTED, "RangeStream does not support custom sort orders") \
    X(ERR_STREAM_FILTERED, GRPC_UNIMPLEMENTED, "RangeStream does not support revision filters") \
    X(ERR_IO, GRPC_INTERNAL, "input/output error") \
    X(ERR_DISK_FULL, GRPC_INTERNAL, "no space left on device") \
    X(ERR_CORRUPT_DATA, GRPC_DATA_LOSS, "damaged data") \
    X(ERR_LOCKED, GRPC_INTERNAL, "locked by another process") \
    X(ERR_ABSENT, GRPC_INTERNAL, "not there") \
    X(ERR_INVALID, GRPC_INVALID_ARGUMENT, "invalid argument") \
    X(ERR_AGAIN, GRPC_UNAVAILABLE, "not now")

/* clang-format on */

enum error_ordinal {
    ERROR_ORDINAL_NONE,
#define X(name, code, text) name##_ORDINAL,
    ERROR_LIST(X)
#undef X
};

enum error {
    OK = 0,
#define X(name, code, text) name = -name##_ORDINAL,
    ERROR_LIST(X)
#undef X
};

enum grpc_code error_code(int error); /* GRPC_OK for 0; CHECKs that the error is in the list */
const char *error_text(int error);    /* the text, never NULL; "" for 0 */
const char *error_name(int error);    /* "ERR_COMPACTED", for the log */

#endif
