/* A stand-in for libnvidia-ml.so.1 with the structures of gpu.md section 3.2. It serves two devices; the environment
 * says what goes wrong: STUB_FAIL=CALL:CODE, STUB_HANG=CALL, STUB_CC=0, STUB_SIZE=N, STUB_STUCK=1 (ready stays 0).
 * -DOLD leaves out what a 535 library lacks, -DNO_INIT even nvmlInit_v2. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int R;
typedef struct { int index; } *D;
typedef struct { unsigned present, size, cec_size; unsigned char nonce[32], report[8192], cec[4096]; } Report;
typedef struct { unsigned chain_size, attestation_size; unsigned char chain[4096], attestation[5120]; } Certificate;
typedef struct { unsigned environment, feature, devtools; } State;
typedef struct { unsigned version, environment, feature, devtools, multi; } Settings;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
typedef struct { unsigned long long total, free, used; } Memory;

static unsigned ready;
static struct { int index; } devices[2] = {{0}, {1}};

static R result(const char *call) {
	const char *hang = getenv("STUB_HANG"), *fail = getenv("STUB_FAIL");
	if (hang && !strcmp(hang, call)) for (;;) pause();
	size_t n = strlen(call);
	if (fail && !strncmp(fail, call, n) && fail[n] == ':') return atoi(fail + n + 1);
	return 0;
}
static unsigned cc(void) { const char *v = getenv("STUB_CC"); return v ? (unsigned)atoi(v) : 1; }
static R text(const char *call, char *to, unsigned n, const char *from) { strncpy(to, from, n); return result(call); }

#ifndef NO_INIT
R nvmlInit_v2(void) { return result("nvmlInit_v2"); }
#endif
R nvmlShutdown(void) { return result("nvmlShutdown"); }
const char *nvmlErrorString(R r) { return r ? "stub error" : "Success"; }
R nvmlSystemGetDriverVersion(char *b, unsigned n) { return text("nvmlSystemGetDriverVersion", b, n, "550.163.01"); }
R nvmlSystemGetNVMLVersion(char *b, unsigned n) { return text("nvmlSystemGetNVMLVersion", b, n, "12.550.163.01"); }
R nvmlSystemGetConfComputeState(State *s) {
	R r = result("nvmlSystemGetConfComputeState");
	if (!r) { s->environment = 2; s->feature = cc(); s->devtools = 0; }
	return r;
}
#ifndef OLD
R nvmlSystemGetConfComputeSettings(Settings *s) {
	R r = result("nvmlSystemGetConfComputeSettings");
	if (s->version != 0x01000014) return 25;
	if (!r) { s->environment = 2; s->feature = cc(); s->devtools = 0; s->multi = 1; }
	return r;
}
#endif
R nvmlSystemGetConfComputeGpusReadyState(unsigned *x) { *x = ready; return result("nvmlSystemGetConfComputeGpusReadyState"); }
R nvmlSystemSetConfComputeGpusReadyState(unsigned x) {
	if (ready) return 2;
	if (!getenv("STUB_STUCK")) ready = x;
	return result("nvmlSystemSetConfComputeGpusReadyState");
}
R nvmlDeviceGetCount_v2(unsigned *n) { *n = getenv("STUB_COUNT") ? (unsigned)atoi(getenv("STUB_COUNT")) : 2; return result("nvmlDeviceGetCount_v2"); }
R nvmlDeviceGetHandleByIndex_v2(unsigned i, D *d) { if (i > 1) return 2; *d = (D)&devices[i]; return result("nvmlDeviceGetHandleByIndex_v2"); }
R nvmlDeviceGetUUID(D d, char *b, unsigned n) { return text("nvmlDeviceGetUUID", b, n, d->index ? "GPU-1" : "GPU-0"); }
R nvmlDeviceGetName(D d, char *b, unsigned n) { (void)d; return text("nvmlDeviceGetName", b, n, "Stub H100"); }
R nvmlDeviceGetPciInfo_v3(D d, Pci *p) { memset(p, 0, sizeof *p); strcpy(p->bus_id, d->index ? "00000000:02:00.0" : "00000000:01:00.0"); return result("nvmlDeviceGetPciInfo_v3"); }
R nvmlDeviceGetArchitecture(D d, unsigned *a) { (void)d; *a = 9; return result("nvmlDeviceGetArchitecture"); }
R nvmlDeviceGetConfComputeGpuAttestationReport(D d, Report *r) {
	const char *size = getenv("STUB_SIZE");
	r->size = size ? (unsigned)atoi(size) : 4049;
	for (unsigned i = 0; i < sizeof r->report; i++) r->report[i] = (unsigned char)(i ^ r->nonce[i % 32] ^ (unsigned)d->index);
	return result("nvmlDeviceGetConfComputeGpuAttestationReport");
}
R nvmlDeviceGetConfComputeGpuCertificate(D d, Certificate *c) {
	(void)d;
	strcpy((char *)c->attestation, "-----BEGIN CERTIFICATE-----\n");
	c->chain_size = 0; c->attestation_size = 29; /* with the NUL */
	return result("nvmlDeviceGetConfComputeGpuCertificate");
}
R nvmlDeviceGetUtilizationRates(D d, Utilization *u) { (void)d; u->gpu = 37; u->memory = 5; return result("nvmlDeviceGetUtilizationRates"); }
R nvmlDeviceGetMemoryInfo_v2(D d, Memory2 *m) { (void)d; m->total = 80; m->used = 30; return result("nvmlDeviceGetMemoryInfo_v2"); }
R nvmlDeviceGetConfComputeProtectedMemoryUsage(D d, Memory *m) { (void)d; m->total = 79; m->used = 29; return result("nvmlDeviceGetConfComputeProtectedMemoryUsage"); }
R nvmlDeviceGetTemperature(D d, int sensor, unsigned *t) { (void)d; (void)sensor; *t = 44; return result("nvmlDeviceGetTemperature"); }
R nvmlDeviceGetPowerUsage(D d, unsigned *p) { (void)d; *p = 123456; return result("nvmlDeviceGetPowerUsage"); }
