/* grpc.health.v1.Health (grpc.md "Health"): the whole server, "", is serving as long as it answers at all. */
#include "grpc/services.h"

#include "grpc/health.pb-c.h"

static Grpc__Health__V1__HealthCheckResponse__ServingStatus state_of(const char *name)
{
    return name[0] == '\0' ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                           : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
}

static void check(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Grpc__Health__V1__HealthCheckRequest *request = (const Grpc__Health__V1__HealthCheckRequest *)message;
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = state_of(request->service);
    if (response.status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN) {
        call_fail_text(call, GRPC_NOT_FOUND, "unknown service");
        return;
    }
    call_reply(call, &response.base);
}

/* The state now; a change would follow on the same stream, but there is none while the server runs. */
static void watch(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Grpc__Health__V1__HealthCheckRequest *request = (const Grpc__Health__V1__HealthCheckRequest *)message;
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = state_of(request->service);
    call_send_message(call, &response.base);
}

static const struct call_route routes[] = {
    {"/grpc.health.v1.Health/Check", CALL_UNARY, CALL_CONTROL, &grpc__health__v1__health_check_request__descriptor,
     &grpc__health__v1__health_check_response__descriptor, check, NULL},
    {"/grpc.health.v1.Health/Watch", CALL_SERVER_STREAM, CALL_CONTROL,
     &grpc__health__v1__health_check_request__descriptor, &grpc__health__v1__health_check_response__descriptor, watch,
     NULL},
};

void service_health(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
