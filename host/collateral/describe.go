package collateral

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
)

// Description is what is in a bundle, for people and scripts. Times are RFC 3339 UTC, hashes lower-case hex.
type Description struct {
	// Genuine says that every signature leads to a trusted root; without it nothing else is filled in but Error.
	Genuine bool `json:"genuine"`
	// Valid says that every part holds at the time of the description.
	Valid bool `json:"valid"`
	// Class and Error say why it is not genuine or not valid.
	Class string `json:"class,omitempty"`
	Error string `json:"error,omitempty"`

	Platform         string `json:"platform,omitempty"`
	TEE              string `json:"tee,omitempty"`
	FMSPC            string `json:"fmspc,omitempty"`
	PCEID            string `json:"pceid,omitempty"`
	CA               string `json:"ca,omitempty"`
	Root             string `json:"root_id,omitempty"`
	IntelRoot        bool   `json:"intel_root"`
	Generation       string `json:"generation,omitempty"`
	EvaluationNumber int    `json:"evaluation_number,omitempty"`
	// Expires is when the first part does.
	Expires string            `json:"expires,omitempty"`
	Parts   []PartDescription `json:"parts"`
	// Levels are the platform's TCB levels, Modules those of TDX modules and Enclave those of the quoting enclave, each
	// in the order in which they are matched.
	Levels  []Level  `json:"levels"`
	Modules []Module `json:"modules"`
	Enclave []Level  `json:"enclave_levels"`

	expires time.Time
}

// PartDescription is one signed part.
type PartDescription struct {
	Kind    string `json:"kind"`
	Issued  string `json:"issued"`
	Expires string `json:"expires"`
	// Signer is the common name of the certificate that signed it.
	Signer string `json:"signer"`
	// Revoked counts the entries of a revocation list.
	Revoked *int `json:"revoked,omitempty"`
}

// Level is a TCB level: what has it, and what it means.
type Level struct {
	Status     string   `json:"status"`
	Date       string   `json:"date"`
	Advisories []string `json:"advisories"`
	// SVN is the lowest security version of a module or enclave. Of a platform there are the components' and the PCE's.
	SVN    *int  `json:"svn,omitempty"`
	SGX    []int `json:"sgx_components,omitempty"`
	TDX    []int `json:"tdx_components,omitempty"`
	PCESVN *int  `json:"pce_svn,omitempty"`
}

// Module is one major version of the TDX module.
type Module struct {
	ID     string  `json:"id"`
	Levels []Level `json:"levels"`
}

// ExpiresAt is when the first part expires; zero unless genuine.
func (d *Description) ExpiresAt() time.Time { return d.expires }

// DescribeFile describes a file. One that is no bundle is described as malformed; the error is kept for trouble with the
// file itself.
func DescribeFile(name string, roots *dcap.Roots, now time.Time) (*Description, error) {
	b, err := sources.ReadFile(name)
	if err == nil {
		return Describe(b, roots, now)
	}
	if dcap.ClassOf(err) == "" {
		return nil, fmt.Errorf("reading collateral: %w", err)
	}
	return refusedDescription(err), nil
}

func refusedDescription(err error) *Description {
	d := newDescription()
	d.Class, d.Error = string(dcap.ClassOf(err)), err.Error()
	return d
}

func newDescription() *Description {
	return &Description{Parts: []PartDescription{}, Levels: []Level{}, Modules: []Module{}, Enclave: []Level{}}
}

// Describe verifies a bundle and says what is in it. A bundle that is not genuine or has expired is described as such;
// the error is kept for one that verified and then could not be read.
func Describe(b *dcap.Bundle, roots *dcap.Roots, now time.Time) (*Description, error) {
	col, err := pcs.OpenAtIssue(b, roots)
	if err != nil {
		return refusedDescription(err), nil
	}
	d := newDescription()
	generation, root := col.Generation(), col.Root()
	p := col.Platform()
	d.Genuine, d.Valid = true, true
	d.Platform, d.TEE, d.FMSPC, d.PCEID, d.CA = p.String(), p.TEE.String(), p.FMSPC.String(), hex.EncodeToString(p.PCEID[:]), p.CA.String()
	d.Root, d.IntelRoot, d.Generation = root.String(), root == dcap.IntelRootID(), hex.EncodeToString(generation[:])
	d.EvaluationNumber, d.expires, d.Expires = col.EvaluationNumber(), col.Expires(), stamp(col.Expires())
	if err := col.CheckTime(now); err != nil {
		d.Valid, d.Class, d.Error = false, string(dcap.ClassOf(err)), err.Error()
	}
	if err := errors.Join(d.addParts(b, col), d.addTCBInfo(b.TCBInfo), d.addIdentity(b.QEIdentity)); err != nil {
		return nil, fmt.Errorf("describing collateral of %s: %w", d.Platform, err)
	}
	return d, nil
}

func (d *Description) addParts(b *dcap.Bundle, col *dcap.Collateral) error {
	for _, part := range col.Parts() {
		out := PartDescription{Kind: part.Kind.String(), Issued: stamp(part.From), Expires: stamp(part.To)}
		var err error
		switch part.Kind {
		case dcap.TCBInfo:
			out.Signer, err = commonName(b.TCBInfoIssuerChain)
		case dcap.QEIdentity:
			out.Signer, err = commonName(b.QEIdentityIssuerChain)
		case dcap.PCKCRL:
			out.Signer, out.Revoked, err = listFacts(b.PCKCRL)
		case dcap.RootCRL:
			out.Signer, out.Revoked, err = listFacts(b.RootCACRL)
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", part.Kind, err)
		}
		d.Parts = append(d.Parts, out)
	}
	return nil
}

func commonName(chain string) (string, error) {
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		return "", errors.New("the issuer chain has no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	return cert.Subject.CommonName, nil
}

func listFacts(text string) (signer string, revoked *int, err error) {
	der, err := hex.DecodeString(text)
	if err != nil {
		return "", nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return "", nil, err
	}
	n := len(list.RevokedCertificateEntries)
	return list.Issuer.CommonName, &n, nil
}

// levelText is a TCB level in the words of the signed texts (Intel PCS API version 4).
type levelText struct {
	TCB struct {
		SVN    *int      `json:"isvsvn"`
		SGX    []svnText `json:"sgxtcbcomponents"`
		TDX    []svnText `json:"tdxtcbcomponents"`
		PCESVN *int      `json:"pcesvn"`
	} `json:"tcb"`
	Date       string   `json:"tcbDate"`
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs"`
}

type svnText struct {
	SVN int `json:"svn"`
}

// addTCBInfo reads a signed text that dcap has accepted, which leaves nothing ambiguous for a lenient reader.
func (d *Description) addTCBInfo(text string) error {
	var t struct {
		Levels  []levelText `json:"tcbLevels"`
		Modules []struct {
			ID     string      `json:"id"`
			Levels []levelText `json:"tcbLevels"`
		} `json:"tdxModuleIdentities"`
	}
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return fmt.Errorf("reading TCB info: %w", err)
	}
	d.Levels = levels(t.Levels)
	for _, m := range t.Modules {
		d.Modules = append(d.Modules, Module{ID: m.ID, Levels: levels(m.Levels)})
	}
	return nil
}

func (d *Description) addIdentity(text string) error {
	var t struct {
		Levels []levelText `json:"tcbLevels"`
	}
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return fmt.Errorf("reading QE identity: %w", err)
	}
	d.Enclave = levels(t.Levels)
	return nil
}

func levels(in []levelText) []Level {
	out := make([]Level, 0, len(in))
	for _, l := range in {
		out = append(out, Level{
			Status: l.Status, Date: l.Date, Advisories: append([]string{}, l.Advisories...),
			SVN: l.TCB.SVN, SGX: svns(l.TCB.SGX), TDX: svns(l.TCB.TDX), PCESVN: l.TCB.PCESVN,
		})
	}
	return out
}

func svns(in []svnText) []int {
	out := make([]int, 0, len(in))
	for _, c := range in {
		out = append(out, c.SVN)
	}
	return out
}

// Needs says in short what a platform needs for a level: "SGX 3 3 2 2 4 1 0 5, PCE 13, TDX 5 0 3".
func (l *Level) Needs() string {
	var parts []string
	for _, c := range []struct {
		name string
		svns []int
	}{{"SGX", l.SGX}, {"TDX", l.TDX}} {
		if len(c.svns) > 0 {
			parts = append(parts, c.name+" "+short(c.svns))
		}
	}
	if l.PCESVN != nil {
		parts = append(parts, fmt.Sprintf("PCE %d", *l.PCESVN))
	}
	if l.SVN != nil {
		parts = append(parts, fmt.Sprintf("SVN %d", *l.SVN))
	}
	return strings.Join(parts, ", ")
}

// short leaves the zeros at the end out.
func short(svns []int) string {
	end := len(svns)
	for end > 1 && svns[end-1] == 0 {
		end--
	}
	return strings.Trim(fmt.Sprint(svns[:end]), "[]")
}
