package measuretest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

const (
	// slowQuote is how long a slow quoting service takes: longer than the kernel's own second, shorter than anybody's
	// deadline.
	slowQuote = 5 * time.Second
	// slowAnswer is how long a slow provisioning service takes: longer than clients wait.
	slowAnswer = 15 * time.Second
)

// ErrFault is what an injected failure says.
var ErrFault = errors.New("injected fault")

// Fault is something wrong with a platform, its TD or its provisioning service, by name, for whoever starts them from a
// command line or a scenario.
type Fault struct {
	// Name is a word without spaces; Effect says what a strict verifier makes of it.
	Name, Effect string
	// Platform changes the platform, Service its provisioning service; either may be nil.
	Platform func(*Options)
	Service  func(*Service)
}

// Faults lists all of them, by name.
func Faults() []Fault {
	out := append(tdFaults(), certificateFaults()...)
	out = append(out, serviceFaults()...)
	for _, s := range []dcap.Status{
		dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded, dcap.OutOfDate,
		dcap.OutOfDateConfigurationNeeded, dcap.Revoked,
	} {
		out = append(out, Fault{
			Name: "platform-" + s.String(), Effect: "tcb_status",
			Service: func(v *Service) { v.Collateral.Platform = s.String() },
		})
	}
	slices.SortFunc(out, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func tdFaults() []Fault {
	return []Fault{
		{Name: "debug-td", Effect: "td_debug", Platform: func(o *Options) { o.TD.Attributes = AttributeDebug | AttributeSEPTVEDisable }},
		{Name: "migratable-td", Effect: "td_attributes", Platform: func(o *Options) { o.TD.Attributes = AttributeMigratable | AttributeSEPTVEDisable }},
		{Name: "service-td", Effect: "service_td, in quotes of version 5", Platform: func(o *Options) { o.TD.ServiceTD = tdx.Sum([]byte("migration")) }},
		{Name: "unknown-xfam", Effect: "xfam", Platform: func(o *Options) { o.TD.XFAM = 1<<40 | defaultXFAM }},
		{Name: "quote-slow", Effect: "quotes take five seconds", Platform: func(o *Options) {
			o.Quoting = func(ctx context.Context) error { return wait(ctx, slowQuote) }
		}},
		{Name: "quote-fails", Effect: "there are no quotes", Platform: func(o *Options) {
			o.Quoting = func(context.Context) error { return fmt.Errorf("quoting service: %w", ErrFault) }
		}},
	}
}

func certificateFaults() []Fault {
	past := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	return []Fault{
		{Name: "pck-expired", Effect: "chain", Platform: func(o *Options) {
			o.EditCertificate = func(r Role, t *x509.Certificate) {
				if r == PCK {
					t.NotAfter = past
				}
			}
		}},
		{Name: "pck-revoked", Effect: "revoked", Service: func(s *Service) { s.Collateral.RevokePCK = true }},
		{Name: "ca-revoked", Effect: "revoked", Service: func(s *Service) { s.Collateral.RevokeCA = true }},
		{Name: "signer-revoked", Effect: "collateral_signature", Service: func(s *Service) { s.Collateral.RevokeSigner = true }},
	}
}

func serviceFaults() []Fault {
	return []Fault{
		{Name: "module-OutOfDate", Effect: "tcb_status", Service: func(s *Service) { s.Collateral.Module = outOfDate }},
		{Name: "qe-OutOfDate", Effect: "tcb_status", Service: func(s *Service) { s.Collateral.QE = outOfDate }},
		{Name: "qe-other", Effect: "qe_identity", Service: func(s *Service) {
			s.Collateral.QEIdentity = func(i *QEIdentity) { i.ISVProdID++ }
		}},
		{Name: "fmspc-other", Effect: "collateral_mismatch", Service: func(s *Service) {
			s.Collateral.TCBInfo = func(i *TCBInfo) { i.FMSPC = "00906ea10000" }
		}},
		{Name: "pceid-other", Effect: "collateral_mismatch", Service: func(s *Service) {
			s.Collateral.TCBInfo = func(i *TCBInfo) { i.PCEID = "0001" }
		}},
		{Name: "collateral-expired", Effect: "collateral_expired", Service: func(s *Service) {
			s.Collateral.TCBInfo = func(i *TCBInfo) { i.IssueDate, i.NextUpdate = "2021-01-01T00:00:00Z", "2021-02-01T00:00:00Z" }
		}},
		{Name: "collateral-future", Effect: "collateral_not_yet_valid", Service: func(s *Service) {
			s.Collateral.TCBInfo = func(i *TCBInfo) { i.IssueDate, i.NextUpdate = "2049-01-01T00:00:00Z", "2049-02-01T00:00:00Z" }
		}},
		{Name: "collateral-old", Effect: "collateral_rollback, if the policy has a floor", Service: func(s *Service) {
			s.Collateral.TCBInfo = func(i *TCBInfo) { i.TCBEvaluationDataNumber = 1 }
		}},
		{Name: "collateral-altered", Effect: "collateral_malformed", Service: func(s *Service) {
			s.Edit = func(path string, a *Answer) {
				if strings.HasSuffix(path, "/tcb") {
					a.Body = Mutations()[0].Apply(a.Body)
				}
			}
		}},
		{Name: "pcs-slow", Effect: "the service takes longer than clients wait", Service: func(s *Service) {
			s.Before = func(ctx context.Context, _ string) error { return wait(ctx, slowAnswer) }
		}},
		{Name: "pcs-down", Effect: "the service answers with status 503", Service: func(s *Service) {
			s.Before = func(context.Context, string) error { return ErrFault }
		}},
	}
}

// FindFault is the fault of a name.
func FindFault(name string) (Fault, error) {
	names := make([]string, 0, 32)
	for _, f := range Faults() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Fault{}, fmt.Errorf("fault %q is none of %s", name, strings.Join(names, ", "))
}

// Inject applies faults to options and a service.
func Inject(o *Options, s *Service, faults []Fault) {
	for _, f := range faults {
		if f.Platform != nil {
			f.Platform(o)
		}
		if f.Service != nil {
			f.Service(s)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
