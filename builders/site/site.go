// Package site is read by the daemon, unprivileged, and by build types, as root, is only data, and touches nothing: it is
// the settings of the place where a builder stands, which a build's request carries from the one to the others.
package site

import "lpbuildd/builders/credentials"

// Site is what a builder is told of the services around it, and of what its
// manager expects. It goes whole from the configuration to the build type.
type Site struct {
	// AptProxy is the URL of an apt proxy, or "".
	AptProxy string `json:"apt_proxy,omitempty"`
	// SnapStore is the URL of a snap store proxy, or "".
	SnapStore string `json:"snap_store,omitempty"`
	// ClamAVDatabase is the URL of a mirror of malware definitions, or "".
	ClamAVDatabase string `json:"clamav_database,omitempty"`
	// NTPHost is a time server to ask before a build, or "".
	NTPHost string `json:"ntp_host,omitempty"`
	// TemplatesArchive is the name of the result of translation-templates; "" when
	// such builds are not configured.
	TemplatesArchive string `json:"templates_archive"`
}

// Secrets are what no log may show of it: what is secret in its URLs. All
// settings are looked at, whatever they are meant for.
func (s Site) Secrets() []string {
	var found []string
	for _, setting := range []string{s.AptProxy, s.SnapStore, s.ClamAVDatabase, s.NTPHost, s.TemplatesArchive} {
		found = append(found, credentials.In(setting)...)
	}
	return found
}
