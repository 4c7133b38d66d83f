package builders

import (
	"errors"
	"fmt"
	"strings"

	"lpbuildd/buildd/verdict"
)

// ProxyArgs are the arguments about the proxy of a build with access to the
// network (spec: proxy.md). They hold secrets and must not be logged.
type ProxyArgs struct {
	// UpstreamURL is the authenticated proxy that the local one uses, with the
	// user and password in it; "" means that the build gets no proxy.
	UpstreamURL string
	// RevocationEndpoint is where the token is revoked, "" for nowhere.
	RevocationEndpoint string
	// UseFetchService says that the upstream is a fetch service, which intercepts
	// TLS and whose tokens are revoked in another way.
	UseFetchService bool
	// Certificate is the fetch service's own, usually PEM, in base64 that has not
	// been checked. A build that uses the fetch service fails without a usable one,
	// but is accepted: what it was given can be asked for by proxy_info, and a
	// refusal would count against one builder after the other.
	Certificate string
	// DisableAfterPull says that the token is to be revoked between the phases
	// pull and build. It is false when there is nothing to revoke.
	DisableAfterPull bool
}

// certificateMember is the certificate's key below secrets; certificateKey names
// it in errors.
const (
	certificateMember = "fetch_service_mitm_certificate"
	certificateKey    = "secrets." + certificateMember
)

// ParseProxy reads the arguments about the proxy. Its error names every
// argument that is wrong, and shows no value.
func ParseProxy(args Args) (ProxyArgs, error) {
	args = args.only(proxyArgs())
	r := NewReader(args)
	p := ProxyArgs{
		UpstreamURL:        r.httpURL("proxy_url"),
		RevocationEndpoint: r.httpURL("revocation_endpoint"),
		UseFetchService:    r.Bool("use_fetch_service"),
		DisableAfterPull:   r.Bool("disable_proxy_after_pull"),
	}
	secrets, err := args.Struct("secrets")
	r.Note(err)
	if p.UseFetchService && err == nil {
		certificate := secrets.Get(certificateMember)
		text, ok := certificate.(string)
		if !ok && !unset(certificate) {
			r.Note(WrongType(certificateKey, "a string", certificate))
		}
		p.Certificate = text
	}
	p.DisableAfterPull = p.DisableAfterPull && p.UpstreamURL != "" && p.RevocationEndpoint != ""
	return p, r.Err()
}

// httpURL checks no more than the scheme: the secret in a URL may be malformed,
// and is the upstream's business.
func (r *Reader) httpURL(key string) string {
	s := r.Optional(key, "")
	if s != "" && !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		r.Note(fmt.Errorf("%s: expected a URL that starts with http:// or https://", key))
	}
	return s
}

// DecodeCertificate decodes the certificate of the fetch service (spec: 2026.md section
// 8).
func (p ProxyArgs) DecodeCertificate() ([]byte, error) {
	if p.Certificate == "" {
		return nil, fmt.Errorf("%s is required with use_fetch_service", certificateKey)
	}
	certificate, err := decodeBase64(p.Certificate)
	if err == nil && len(certificate) == 0 {
		err = errors.New("there is nothing in it")
	}
	if err != nil {
		return nil, &verdict.BuildError{
			Outcome: verdict.PackageFail,
			Err:     fmt.Errorf("%s: expected a certificate in base64: %w", certificateKey, err),
			Advice:  "Correct the certificate of the fetch service in the configuration of the build manager.",
		}
	}
	return certificate, nil
}
