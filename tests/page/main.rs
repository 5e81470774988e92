//! Tests of the report's page and the service's page, in headless Chromium.

#[path = "../common/framework.rs"]
#[allow(dead_code)]
mod framework;
#[path = "../common/problems.rs"]
#[allow(dead_code)]
mod problems;
#[path = "../common/service.rs"]
#[allow(dead_code)]
mod service;

mod browser;
mod report_page;
mod service_page;
