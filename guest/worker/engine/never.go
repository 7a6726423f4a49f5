package engine

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// flag is a word that no engine's command line has (inference.md section 15).
type flag struct {
	name string
	// within refuses it inside of other arguments too: engines take settings as JSON and behind dots.
	within bool
	why    string
}

const (
	logsPrompts = "prompts or answers would leave the engine in its output"
	bringsCode  = "code from outside of the verified layer would run"
)

// neverFlags are compared without regard to case, and with underscores as dashes, which is how engines read them.
func neverFlags() []flag {
	return []flag{
		{"trust-remote-code", true, "the model would bring code"},
		{"trust-request-chat-template", true, "requests would bring templates"},
		{"enable-log-requests", true, logsPrompts},
		{"enable-log-outputs", true, logsPrompts},
		{"log-requests", false, logsPrompts},
		{"log-requests-level", false, logsPrompts},
		{"verbose", false, logsPrompts},
		{"verbose-prompt", false, logsPrompts},
		{"log-verbosity", false, logsPrompts},
		{"slot-save-path", false, "prompts would be written to files"},
		{"tool-server", true, "the engine would call servers of its own choice"},
		{"tool-parser-plugin", true, bringsCode},
		{"reasoning-parser-plugin", true, bringsCode},
		{"middleware", false, bringsCode},
		{"config", false, "arguments would come from a file that this list does not see"},
		{"props", false, "requests could change the engine's settings"},
	}
}

// neverShort are the short forms; they have no abbreviations.
func neverShort() []string { return []string{"-v", "-lv"} }

// neverEnv are variables that open an engine or log for it, or load code into it.
func neverEnv() map[string]string {
	return map[string]string{
		"VLLM_SERVER_DEV_MODE":               "it opens endpoints that change the engine",
		"VLLM_ALLOW_INSECURE_SERIALIZATION":  bringsCode,
		"VLLM_PLUGINS":                       bringsCode,
		"VLLM_DEBUG_LOG_API_SERVER_RESPONSE": logsPrompts,
		"VLLM_ALLOW_RUNTIME_LORA_UPDATING":   "requests could change the model",
		"SGLANG_LOG_REQUEST_EXCEEDED_MS":     logsPrompts,
		"LD_PRELOAD":                         bringsCode,
		"LD_AUDIT":                           bringsCode,
		"PYTHONPATH":                         bringsCode,
		"PYTHONSTARTUP":                      bringsCode,
		"PYTHONINSPECT":                      bringsCode,
		"LLAMA_ARG_LOG_VERBOSITY":            logsPrompts,
		"LLAMA_ARG_ENDPOINT_PROPS":           "requests could change the engine's settings",
	}
}

var envRule = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

// maxValue bounds a variable's value.
const maxValue = 1024

// start checks how the engine is started: its arguments, variables and defaults.
func (c *Config) start() []error {
	var found []error
	for _, arg := range c.Argv {
		if why := refusedArgument(arg); why != "" {
			found = append(found, fmt.Errorf("argv: %q is never allowed: %s", arg, why))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		why, never := neverEnv()[name]
		switch {
		case never:
			found = append(found, fmt.Errorf("env: %s is never allowed: %s", name, why))
		case !envRule.MatchString(name) || len(c.Env[name]) > maxValue || strings.ContainsRune(c.Env[name], 0):
			found = append(found, fmt.Errorf("env: %.64q must be NAME in capitals with a short value", name))
		}
	}
	d := c.Defaults
	if d != (Defaults{}) {
		if err := c.Bounds.allow(Values{GPUFraction: d.GPUFraction, TP: d.TP, MaxRequests: d.MaxRequests}); err != nil {
			found = append(found, fmt.Errorf("defaults: %w", err))
		}
	}
	for _, needed := range []struct {
		word, name string
		ok         bool
	}{
		{"{max_requests}", "defaults.max_requests", d.MaxRequests != 0},
		{"{gpu_fraction}", "defaults.gpu_fraction", d.GPUFraction != 0},
		{"{tp}", "defaults.tp", d.TP != 0},
	} {
		if !needed.ok && strings.Contains(strings.Join(c.Argv, " "), needed.word) {
			found = append(found, errors.New(needed.name+" is needed: argv has "+needed.word))
		}
	}
	return found
}

// refusedArgument says why an argument is refused. Abbreviations are refused with what they stand for, because Python's
// parsers complete them.
func refusedArgument(arg string) string {
	if slices.Contains(neverShort(), arg) {
		return logsPrompts
	}
	plain := strings.ReplaceAll(strings.ToLower(arg), "_", "-")
	name, long := strings.CutPrefix(plain, "--")
	name, _, _ = strings.Cut(name, "=")
	if long && strings.HasPrefix(name, "no-") { // switches something off
		return ""
	}
	for _, f := range neverFlags() {
		if f.within && strings.Contains(plain, f.name) || long && name != "" && strings.HasPrefix(f.name, name) {
			return f.why
		}
	}
	return ""
}
