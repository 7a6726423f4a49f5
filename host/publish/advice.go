package publish

import (
	"context"
	"errors"

	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

// Class of an error, in the words of the commands' exit codes (tools-and-tests.md section 2).
type Class string

// The classes.
const (
	Failed       Class = "error"
	Usage        Class = "usage"
	Difference   Class = "difference"
	Prerequisite Class = "prerequisite"
	Timeout      Class = "timeout"
)

// Advice is how an error counts, and what to do next.
type Advice struct {
	Class Class
	Hint  string
}

// Explain says how an error of this package or of the chain's counts. False means that there is nothing to say.
func Explain(err error) (Advice, bool) {
	for _, row := range []struct {
		is error
		Advice
	}{
		{context.DeadlineExceeded, Advice{Timeout, "give more --timeout and run the command again: it settles what was sent before anything else"}},
		{ErrPresent, Advice{Difference, "see what is on chain with \"cocoon root show\"; leave out what is there already"}},
		{ErrAbsent, Advice{Difference, "see what is on chain with \"cocoon root show\""}},
		{ErrNoManifest, Advice{Usage, "publish the manifest itself with \"measure publish MANIFEST --spec SPEC\", or add manifest_sha256 to the entry"}},
		{ErrTestImage, Advice{Difference, "build the production variant: anybody can log in to a test image"}},
		{registry.ErrNetwork, Advice{Difference, "name the network's own --global-config and --root-contract"}},
		{registry.ErrNotRoot, Advice{Usage, "name the root contract with --root-contract ADDRESS"}},
		{ErrNoRights, Advice{Prerequisite, "sign with the owner's key, or leave out --sign-with and let the owner's wallet send the messages"}},
		{ErrRehearsal, Advice{Difference, "nothing was sent; -o json shows every step of the rehearsal"}},
		{ErrRefused, Advice{Difference, "the message is on chain and had no effect; look at the transaction"}},
		{chain.ErrStaleHead, Advice{Prerequisite, "the liteservers lag behind: name others with --global-config"}},
		{chain.ErrOldHead, Advice{Prerequisite, "the liteservers' chain ends before a block that was proven: name others with --global-config"}},
		{chain.ErrClock, Advice{Prerequisite, "set this machine's clock"}},
		{chain.ErrForked, Advice{Difference, "the liteservers show two histories: ask others, and trust neither until then"}},
		{chain.ErrProof, Advice{Difference, "a liteserver answers without proof: name others with --global-config"}},
		{chain.ErrUnavailable, Advice{Prerequisite, "check the network and the liteservers in --global-config"}},
		{chain.ErrGlobalVersion, Advice{Prerequisite, "our contracts need a network of global version 12 or later"}},
		{chain.ErrExpired, Advice{Timeout, "the message was never executed and cannot be any more: run the command again"}},
		{chain.ErrUnconfirmed, Advice{Timeout, "run the command again: it settles what was sent before anything else"}},
		{chain.ErrBusy, Advice{Prerequisite, "wait for the next block and run the command again"}},
		{chain.ErrNotAccepted, Advice{Prerequisite, "the wallet refuses it: look at its balance and sequence number with \"cocoon wallet show\""}},
	} {
		if errors.Is(err, row.is) {
			return row.Advice, true
		}
	}
	return Advice{}, false
}
