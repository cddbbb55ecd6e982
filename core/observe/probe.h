/* SPDX-License-Identifier: Apache-2.0 */
/* Probes for who looks at a running process from outside (USDT: bpftrace, perf, systemtap): each is one instruction that does nothing, and a
   note in the program that says where it is and where its arguments are. The list of them is docs/probes.md, and a test's.

   Arguments are what is at hand anyway: they are there whether somebody looks or not. */
#ifndef SX_CORE_OBSERVE_PROBE_H
#define SX_CORE_OBSERVE_PROBE_H

#if defined(SX_USDT) && SX_USDT
#include <sys/sdt.h>
#ifdef __clang__ /* which minds how the header counts its macros' arguments, wherever they are expanded */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#define SX_PROBE1(name, a)          STAP_PROBE1(strata, name, a)
#define SX_PROBE2(name, a, b)       STAP_PROBE2(strata, name, a, b)
#define SX_PROBE3(name, a, b, c)    STAP_PROBE3(strata, name, a, b, c)
#define SX_PROBE4(name, a, b, c, d) STAP_PROBE4(strata, name, a, b, c, d)
#else /* looked at by the compiler, and by nobody else */
#define SX_PROBE1(name, a)          ((void)sizeof(a))
#define SX_PROBE2(name, a, b)       ((void)sizeof(a), (void)sizeof(b))
#define SX_PROBE3(name, a, b, c)    ((void)sizeof(a), (void)sizeof(b), (void)sizeof(c))
#define SX_PROBE4(name, a, b, c, d) ((void)sizeof(a), (void)sizeof(b), (void)sizeof(c), (void)sizeof(d))
#endif

#endif
