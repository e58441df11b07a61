/* Named places where a chaos build can crash, sleep or fail. Empty in the shipped program. Names are etcd's where it
 * has one at the same place. Set by KEDGE_FAILPOINTS="name=panic;other=sleep(100)" (milliseconds). */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#ifdef KEDGE_CHAOS
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(#name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
