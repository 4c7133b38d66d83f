package builders

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"lpbuildd/ordered"
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
	// Certificate is the fetch service's own, usually PEM. A build that uses the
	// fetch service fails without one, but is accepted: what it was given can be
	// asked for by proxy_info.
	Certificate []byte
	// DisableAfterPull says that the token is to be revoked between the phases
	// pull and build. It is false when there is nothing to revoke.
	DisableAfterPull bool
}

// certificateKey names the certificate in errors.
const certificateKey = "secrets.fetch_service_mitm_certificate"

// ParseProxy reads the arguments about the proxy. Its error names every
// argument that is wrong, and shows no value.
func ParseProxy(args Args) (ProxyArgs, error) {
	args = args.only(proxyArgs())
	r := reader{args: args}
	p := ProxyArgs{
		UpstreamURL:        r.httpURL("proxy_url"),
		RevocationEndpoint: r.httpURL("revocation_endpoint"),
		UseFetchService:    r.boolean("use_fetch_service"),
		DisableAfterPull:   r.boolean("disable_proxy_after_pull"),
	}
	secrets, err := args.members("secrets")
	r.note(err)
	if p.UseFetchService && err == nil {
		p.Certificate, err = fetchServiceCertificate(secrets)
		r.note(err)
	}
	p.DisableAfterPull = p.DisableAfterPull && p.UpstreamURL != "" && p.RevocationEndpoint != ""
	return p, errors.Join(r.errs...)
}

// httpURL checks no more than the scheme: the secret in a URL may be malformed,
// and is the upstream's business.
func (r *reader) httpURL(key string) string {
	s := r.optional(key, "")
	if s != "" && !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		r.note(fmt.Errorf("%s: expected a URL that starts with http:// or https://", key))
	}
	return s
}

func fetchServiceCertificate(secrets ordered.Struct) ([]byte, error) {
	v := secrets.Get("fetch_service_mitm_certificate")
	if unset(v) {
		return nil, nil
	}
	if data, ok := v.([]byte); ok {
		return data, nil // what is base64 on the wire is base64 text after a journey through JSON
	}
	text, ok := v.(string)
	if !ok {
		return nil, wrongType(certificateKey, "a string", v)
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || len(data) == 0 {
		return nil, fmt.Errorf("%s: expected base64", certificateKey)
	}
	return data, nil
}
