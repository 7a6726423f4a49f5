// Package bench quotes the project's speed beside a named peer's, measured in the same run on the same data.
//
// It owns no figures: machines differ and loads vary, so a test here prints two times taken in turns, best of several,
// their ratio, and whether the ratio meets its bar; only different outputs fail it. It runs when COCOON_TEST names the group bench, and skips with a reason when the peer is
// not installed. It trusts the clock of the machine. Tests run one after the other; each waits for what it starts. It
// refuses to compare results that are not equivalent: outputs are checked before times are.
//
// The inference path beside nginx, HAProxy, Caddy and plain Go proxies, about a minute and a half:
//
//	COCOON_TEST=bench go test -count 1 -v -run TestInferenceBesideProxies ./tests/bench
//
// COCOON_TEST=bench,big measures twice and longer. COCOON_BENCH_PATHS=nginx,cocoon measures these beside the engine itself;
// a part of a name is enough. Peers that are not installed are left out (packages nginx-light, haproxy, caddy).
package bench
