// Package report is how measurements are told: what they were made on, distributions of latency, and pages
// of tables and plots as Markdown and as one HTML file that needs nothing else.
//
// `weir bench` and the comparison in bench/ share it. It measures nothing.
//
// Input: values. Output: bytes; the same input gives the same bytes.
//
//  1. A page holds no link, no script and no font: it can be sent by mail and read in ten years.
//  2. Text is escaped; nothing of a page's input is trusted to be HTML.
//
// Start with page.go. Deliberately absent: templates and themes.
package report
