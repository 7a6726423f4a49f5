package policy_test

import (
	"errors"
	"fmt"

	"cocoon/measure/policy"
)

// A misspelt policy is an error, never a more lenient policy.
func ExampleParse() {
	_, err := policy.Parse([]byte(`{
		"type": "tdx",
		"allowed_image_hashes": ["04b3afd9"],
		"Require_V2": true
	}`))
	fmt.Println(err)
	// Output:
	// reading policy: allowed_image_hashes[0]: 8 characters, want 64 hex digits
	// Require_V2: unknown key; keys are case-sensitive, this one is "require_v2"
}

// A refusal names the first rule that failed, what it wanted and what it got.
func ExamplePolicy_Check() {
	p, err := policy.Parse([]byte(`{"type": "tdx", "image_source": "defer"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	verified := result() // of dcap.Verifier
	verified.Quote.TD.TDAttributes[0] = 1
	verdict := p.Check(policy.Evidence{Quote: verified, ReportDataOK: true}, policy.Env{Now: now})
	if denied, ok := errors.AsType[*policy.Denied](verdict.Err()); ok {
		fmt.Println(denied.Code)
		fmt.Println(denied.Want)
		fmt.Println(denied.Got)
	}
	// Output:
	// td_debug
	// attribute bits 0 to 7 zero
	// 0x1 (DEBUG)
}

// Another policy is made from a policy's rules; the first one stays as it is.
func ExamplePolicy_Rules() {
	workers, network := policy.RoleWorker, int32(-239)
	rules := policy.Builtin(policy.TDX).Rules()
	rules.ImageSource = policy.FromChain
	rules.Claims.Role, rules.Claims.NetworkID = &workers, &network
	p, err := policy.New(rules)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.ImageSource(), policy.Builtin(policy.TDX).ImageSource())
	// Output: chain list
}
