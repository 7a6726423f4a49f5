// Package bench quotes the project's speed beside a named peer's, measured in the same run on the same data.
//
// It owns no figures: machines differ and loads vary, so a test here prints two times taken in turns, best of several,
// their ratio, and whether the ratio meets its bar; only different outputs fail it. It runs when COCOON_TEST names the group bench, and skips with a reason when the peer is
// not installed. It trusts the clock of the machine. Tests run one after the other; each waits for what it starts. It
// refuses to compare results that are not equivalent: outputs are checked before times are.
package bench
