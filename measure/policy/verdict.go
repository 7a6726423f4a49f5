package policy

import (
	"fmt"
	"log/slog"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Verdict is what a policy says about evidence. Treat it as read-only: several sessions may share it.
type Verdict struct {
	// OK admits the peer. Code is then OK, else the code of the first rule that failed.
	OK   bool
	Code Code
	// Type is the policy's.
	Type Type
	// Findings has one entry a rule, in the order they are judged.
	Findings []Finding
	// Quote is the verified quote with its platform; nil without one, and under type any possibly not nil.
	Quote *dcap.Result
	// Fake says that the evidence is fake TDX.
	Fake bool
	// ImageHash is of the verified quote; zero without one.
	ImageHash tdx.Hash
	// ImagesAt is when the chain's list that was compared with was true; zero when none was.
	ImagesAt time.Time
	// Claims are the peer's, of wire profile v2; nil under v1.
	Claims *Claims
}

// Finding is what one rule says.
type Finding struct {
	Rule string
	Code Code
	Want string
	Got  string
	OK   bool
	// Skipped says that there was nothing to judge, because an earlier rule failed. OK is then false.
	Skipped bool
}

// Denied is the error of a verdict that does not admit the peer: its first failed rule.
type Denied struct { //nolint:errname // the name that layout.md section 7 gives to verdicts that are errors
	Code            Code
	Rule, Want, Got string
}

// Error names the rule with what it wants and got. What identifies a platform stays in the fields: errors get into logs, and
// those must not tell machines apart (attestation.md section 14.4).
func (d *Denied) Error() string {
	if d.Rule == rulePPID || d.Rule == rulePIID {
		return fmt.Sprintf("evidence refused by rule %s (%s): this platform is not admitted; the verdict's findings name it", d.Rule, d.Code)
	}
	return fmt.Sprintf("evidence refused by rule %s (%s): want %s, got %s", d.Rule, d.Code, d.Want, d.Got)
}

// Err is nil for an admitted peer, else a *Denied.
func (v Verdict) Err() error {
	if v.OK {
		return nil
	}
	for i := range v.Findings {
		if f := &v.Findings[i]; !f.OK && !f.Skipped {
			return &Denied{Code: f.Code, Rule: f.Rule, Want: f.Want, Got: f.Got}
		}
	}
	return &Denied{Code: v.Code, Rule: "verdict", Want: "every rule judged", Got: "a verdict without rules"}
}

// LogValue names the outcome and the image. It leaves out what identifies a platform.
func (v Verdict) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 4)
	attrs = append(attrs, slog.String("code", string(v.Code)), slog.String("type", string(v.Type)))
	if v.Quote != nil {
		attrs = append(attrs, slog.String("image", v.ImageHash.String()))
	}
	for i := range v.Findings {
		if f := &v.Findings[i]; !f.OK && !f.Skipped {
			attrs = append(attrs, slog.String("rule", f.Rule))
			break
		}
	}
	return slog.GroupValue(attrs...)
}
