#include "bliss/encoder/distributions.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace {

using namespace bliss::encoder;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

at::Tensor scalar(double x) { return torch::tensor({x}, torch::kDouble); }

struct Parameters {
    double mean, sd;
};
/// Wide, narrow, on a border, and far outside the unit interval.
const Parameters k_cases[] = {{0.5, 0.1}, {0.3, 0.9}, {0.0, 0.05}, {1.0, 0.01}, {-0.4, 0.3}, {1.9, 0.4}, {-0.9, 0.2}, {0.5, 3.0}};

/// Integral over [0, 1] by the midpoint rule.
template <class F>
double integral(F f) {
    const int n = 20000;
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += f((i + 0.5) / n) / n;
    return sum;
}

double log_density(double x, const Parameters& p) { return log_truncated_normal(scalar(x), scalar(p.mean), scalar(p.sd)).item<double>(); }

}  // namespace

TEST_CASE("a truncated Normal has mass 1 on the tile and the shape of a Normal there") {
    for (const Parameters& p : k_cases) {
        INFO("mean " << p.mean << " sd " << p.sd);
        const at::Tensor x = (torch::arange(20000, torch::kDouble) + 0.5) / 20000;
        const at::Tensor f = torch::exp(log_truncated_normal(x, scalar(p.mean), scalar(p.sd)));
        CHECK_THAT(f.mean().item<double>(), WithinRel(1.0, 1e-4));
        const double expected = 0.5 * (std::pow((0.7 - p.mean) / p.sd, 2) - std::pow((0.6 - p.mean) / p.sd, 2));
        CHECK_THAT(log_density(0.6, p) - log_density(0.7, p), WithinAbs(expected, 1e-9 * (1 + std::abs(expected))));
    }
}

TEST_CASE("moments of the truncated Normal agree with numerical integration") {
    for (const Parameters& p : k_cases) {
        INFO("mean " << p.mean << " sd " << p.sd);
        const at::Tensor x = (torch::arange(20000, torch::kDouble) + 0.5) / 20000;
        const at::Tensor f = torch::exp(log_truncated_normal(x, scalar(p.mean), scalar(p.sd)));
        const double mean = (f * x).mean().item<double>();
        const double variance = (f * (x - mean) * (x - mean)).mean().item<double>();
        const Moments moments = truncated_normal_moments(p.mean, p.sd);
        CHECK_THAT(moments.mean, WithinAbs(mean, 1e-4));
        CHECK_THAT(moments.variance, WithinRel(variance, 0.01));
    }
}

TEST_CASE("the distribution function agrees with numerical integration") {
    for (const Parameters& p : k_cases) {
        INFO("mean " << p.mean << " sd " << p.sd);
        const at::Tensor x = (torch::arange(20000, torch::kDouble) + 0.5) / 20000;
        const at::Tensor f = torch::exp(log_truncated_normal(x, scalar(p.mean), scalar(p.sd)));
        const TruncatedNormalCdf cdf{p.mean, p.sd};
        for (const double at : {0.01, 0.3, 0.8, 0.999}) {
            const double below = (f * (x < at)).mean().item<double>();
            CHECK_THAT(cdf(at), WithinAbs(below, 1e-3));
        }
        CHECK(cdf(0) == 0);
        CHECK(cdf(1) == 1);
    }
    // Far outside: an exponential of scale sd^2 / distance.
    const double scale = 0.01 * 0.01 / 0.9;
    CHECK_THAT(TruncatedNormalCdf(-0.9, 0.01)(scale), WithinAbs(1 - std::exp(-1), 2e-3));
    CHECK_THAT(TruncatedNormalCdf(1.9, 0.01)(1 - scale), WithinAbs(std::exp(-1), 2e-3));
}

TEST_CASE("moments stay in the tile however extreme the parameters") {
    for (const double mean : {-1.0, -0.2, 0.5, 1.3, 2.0}) {
        for (const double sd : {0.002, 0.02, 0.3, 3.0}) {
            const Moments m = truncated_normal_moments(mean, sd);
            CHECK((m.mean >= 0 && m.mean <= 1));
            CHECK((m.variance > 0 && m.variance <= 1.0 / 12 + 1e-9));
        }
    }
}

TEST_CASE("gradients agree with finite differences, also in the tails") {
    for (const Parameters& p : k_cases) {
        INFO("mean " << p.mean << " sd " << p.sd);
        at::Tensor mean = scalar(p.mean).requires_grad_(true);
        at::Tensor sd = scalar(p.sd).requires_grad_(true);
        log_truncated_normal(scalar(0.4), mean, sd).sum().backward();
        const double h = 1e-6;
        const auto at_mean = [&](double m) { return log_truncated_normal(scalar(0.4), scalar(m), scalar(p.sd)).item<double>(); };
        const auto at_sd = [&](double s) { return log_truncated_normal(scalar(0.4), scalar(p.mean), scalar(s)).item<double>(); };
        const double by_mean = (at_mean(p.mean + h) - at_mean(p.mean - h)) / (2 * h);
        const double by_sd = (at_sd(p.sd + h) - at_sd(p.sd - h)) / (2 * h);
        CHECK_THAT(mean.grad().item<double>(), WithinAbs(by_mean, 1e-4 * (1 + std::abs(by_mean))));
        CHECK_THAT(sd.grad().item<double>(), WithinAbs(by_sd, 1e-4 * (1 + std::abs(by_sd))));
    }
}

TEST_CASE("single precision stays finite at the limits the network can reach") {
    const auto f = [](double x) { return torch::tensor({x}, torch::kFloat); };
    for (const double mean : {-1.0, 2.0}) {
        for (const double sd : {0.002, 3.0}) {
            at::Tensor m = f(mean).requires_grad_(true), s = f(sd).requires_grad_(true);
            const at::Tensor value = log_truncated_normal(f(0.5), m, s);
            value.sum().backward();
            INFO("mean " << mean << " sd " << sd);
            CHECK(std::isfinite(value.item<float>()));
            CHECK(std::isfinite(m.grad().item<float>()));
            CHECK(std::isfinite(s.grad().item<float>()));
        }
    }
}

TEST_CASE("a Normal's log density is the closed form") {
    CHECK_THAT(log_normal(scalar(1.3), scalar(0.5), scalar(2.0)).item<double>(),
               WithinRel(-0.5 * 0.16 - std::log(2.0) - 0.9189385332046727, 1e-12));
    CHECK_THAT(integral([](double x) { return 20 * std::exp(log_normal(scalar(20 * x - 10), scalar(0.3), scalar(1.1)).item<double>()); }),
               WithinRel(1.0, 1e-6));
}

TEST_CASE("a Normal without what lies below a value: density, distribution, quantiles and moments against numerical integration") {
    for (const double low : {-3.0, 0.5, 2.0, 4.0}) {
        const double mean = 0.3, sd = 0.8, high = std::max(low, mean) + 10 * sd;
        INFO("low " << low);
        const NormalAbove above{mean, sd, low};
        const auto density = [&](double at) {
            return std::exp(log_normal_above(scalar(at), scalar(mean), scalar(sd), low).item<double>());
        };
        const auto up_to = [&](double end, double power) {
            return integral([&](double x) {
                const double at = low + (end - low) * x;
                return (end - low) * std::pow(at, power) * density(at);
            });
        };
        CHECK_THAT(up_to(high, 0), WithinAbs(1, 1e-4));
        const Moments m = above.moments();
        CHECK_THAT(m.mean, WithinAbs(up_to(high, 1), 1e-4));
        CHECK_THAT(m.variance, WithinAbs(up_to(high, 2) - m.mean * m.mean, 1e-3));
        CHECK(above.cdf(low) == 0);
        for (const double share : {1e-3, 0.2, 0.5, 0.97}) {
            const double at = above.quantile(share);
            CHECK(at > low);
            CHECK_THAT(above.cdf(at), WithinAbs(share, 1e-9));
            CHECK_THAT(up_to(at, 0), WithinAbs(share, 1e-4));
        }
    }
    // Far below it is an exponential of scale sd / distance.
    const NormalAbove far{-40, 1, 5};
    CHECK_THAT(far.cdf(5 + 1.0 / 45), WithinAbs(1 - std::exp(-1), 1e-3));
    CHECK_THAT(far.quantile(0.5), WithinAbs(5 + std::log(2.0) / 45, 1e-4));
    CHECK_THAT(far.moments().mean, WithinAbs(5 + 1.0 / 45, 1e-4));
    // Without a least value it is the Normal.
    const NormalAbove whole{1, 2, -std::numeric_limits<double>::infinity()};
    CHECK_THAT(whole.cdf(3), WithinAbs(0.841344746, 1e-9));
    CHECK_THAT(whole.quantile(0.841344746), WithinAbs(3, 1e-6));
    CHECK(whole.moments().mean == 1);
    CHECK(whole.moments().variance == 4);
    CHECK(torch::equal(log_normal_above(scalar(0.2), scalar(1.0), scalar(2.0), -std::numeric_limits<double>::infinity()),
                       log_normal(scalar(0.2), scalar(1.0), scalar(2.0))));
}
