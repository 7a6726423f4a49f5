package measuretest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Members of the service's answers that hold the signed texts.
const (
	tcbInfoMember         = "tcbInfo"
	enclaveIdentityMember = "enclaveIdentity"
)

// Headers that carry issuer chains (Intel PCS API version 4).
const (
	headerTCBInfo  = "TCB-Info-Issuer-Chain"
	headerIdentity = "SGX-Enclave-Identity-Issuer-Chain"
	headerPCKCRL   = "SGX-PCK-CRL-Issuer-Chain"
)

// Answer is what the provisioning service sends.
type Answer struct {
	Status      int
	ContentType string
	// Header is the name of the header with the issuer chain, Chain its URL-encoded value; empty when there is none.
	Header, Chain string
	Body          []byte
}

// Service is the provisioning service of platforms: an http.Handler with the paths of Intel's and of its caches.
type Service struct {
	// Collateral says how the answers depart from honest ones; SGX is set by the path.
	Collateral CollateralSpec
	// Before runs before each answer, with the path; it may wait, and its error becomes status 503.
	Before func(ctx context.Context, path string) error
	// Edit changes an answer before it is sent.
	Edit func(path string, a *Answer)

	platforms []*Platform
}

// Add lets the service answer for further platforms; it must not be called while the service answers.
func (s *Service) Add(platforms ...*Platform) { s.platforms = append(s.platforms, platforms...) }

// NewService makes the service of the platforms, which are told apart by FMSPC and authority.
func NewService(platforms ...*Platform) *Service { return &Service{platforms: platforms} }

// route is one path of the service.
type route struct {
	path   string
	answer func(p *Platform, s CollateralSpec) (Answer, error)
	sgx    bool
}

func routes() []route {
	return []route{
		{"/tdx/certification/v4/tcb", tcbAnswer, false},
		{"/sgx/certification/v4/tcb", tcbAnswer, true},
		{"/tdx/certification/v4/qe/identity", identityAnswer, false},
		{"/sgx/certification/v4/qe/identity", identityAnswer, true},
		{"/sgx/certification/v4/pckcrl", pckCRLAnswer, false},
		{"/sgx/certification/v4/rootcacrl", rootCRLHexAnswer, false},
		{"/IntelSGXRootCA.der", rootCRLAnswer, false},
	}
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.Get(r.Context(), r.URL.Path, r.URL.Query())
	if a.Header != "" {
		w.Header().Set(a.Header, a.Chain)
	}
	w.Header().Set("Content-Type", a.ContentType)
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a client that is gone concerns only the client
}

// Get is an answer without a network: the path without the host, and the query.
func (s *Service) Get(ctx context.Context, path string, query url.Values) Answer {
	if s.Before != nil {
		if err := s.Before(ctx, path); err != nil {
			return plain(http.StatusServiceUnavailable, err.Error())
		}
	}
	a := s.get(path, query)
	if s.Edit != nil {
		s.Edit(path, &a)
	}
	return a
}

func (s *Service) get(path string, query url.Values) Answer {
	for _, r := range routes() {
		if r.path != path {
			continue
		}
		p := s.find(query)
		if p == nil {
			return plain(http.StatusNotFound, fmt.Sprintf("no simulated platform matches %q", query.Encode()))
		}
		spec := s.Collateral
		spec.SGX = r.sgx
		a, err := r.answer(p, spec)
		if err != nil {
			return plain(http.StatusInternalServerError, err.Error())
		}
		a.Status = http.StatusOK
		return a
	}
	return plain(http.StatusNotFound, fmt.Sprintf("the simulated service has no %s", path))
}

// find is the first platform that the query fits; parameters that are absent fit all.
func (s *Service) find(query url.Values) *Platform {
	fmspc, ca := query.Get("fmspc"), query.Get("ca")
	for _, p := range s.platforms {
		if (fmspc == "" || strings.EqualFold(fmspc, hex.EncodeToString(p.opts.FMSPC[:]))) && (ca == "" || ca == p.opts.caName()) {
			return p
		}
	}
	return nil
}

func plain(status int, text string) Answer {
	return Answer{Status: status, ContentType: "text/plain; charset=utf-8", Body: []byte(text + "\n")}
}

func tcbAnswer(p *Platform, s CollateralSpec) (Answer, error) {
	a, err := p.answers(s)
	if err != nil {
		return Answer{}, err
	}
	return a.tcbInfo.answer(tcbInfoMember, headerTCBInfo, a.signers), nil
}

func identityAnswer(p *Platform, s CollateralSpec) (Answer, error) {
	a, err := p.answers(s)
	if err != nil {
		return Answer{}, err
	}
	return a.qeIdentity.answer(enclaveIdentityMember, headerIdentity, a.signers), nil
}

func pckCRLAnswer(p *Platform, s CollateralSpec) (Answer, error) {
	a, err := p.answers(s)
	if err != nil {
		return Answer{}, err
	}
	return Answer{ContentType: "application/pkix-crl", Header: headerPCKCRL, Chain: escape(a.cas), Body: a.pckCRL}, nil
}

func rootCRLAnswer(p *Platform, s CollateralSpec) (Answer, error) {
	a, err := p.answers(s)
	if err != nil {
		return Answer{}, err
	}
	return Answer{ContentType: "application/pkix-crl", Body: a.rootCRL}, nil
}

func rootCRLHexAnswer(p *Platform, s CollateralSpec) (Answer, error) {
	a, err := rootCRLAnswer(p, s)
	a.ContentType, a.Body = "text/plain; charset=utf-8", []byte(hex.EncodeToString(a.Body))
	return a, err
}

// answer wraps a signed text as the service does.
func (t signedText) answer(member, header string, issuers []byte) Answer {
	body := fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, member, t.text, hex.EncodeToString(t.signature))
	return Answer{ContentType: "application/json", Header: header, Chain: escape(issuers), Body: body}
}

// escape encodes a chain as the service does: spaces become %20, and nothing is left that a form decoder would change.
func escape(chain []byte) string {
	return strings.ReplaceAll(url.QueryEscape(string(chain)), "+", "%20")
}
