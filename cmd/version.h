/* Versions: etcd's, where programs look for it, and kedge's own. */
#ifndef CMD_VERSION_H
#define CMD_VERSION_H

#define VERSION_ETCD "3.7.1" /* what we stand in for */
#define VERSION_API "3.7"    /* its API version, as tools print it */
#define VERSION_CLUSTER "3.7.0"
#define VERSION_KEDGE "0.1.0-dev"

/* "etcd Version: 3.7.1" and what etcd prints after it, then kedge's own; on stdout. */
void version_print_server(void);
/* The same for etcdctl and etcdutl: program is their name. */
void version_print_tool(const char *program);

#endif
