#include "gradient_sums.hpp"

#include "bliss/core/exact_sums.hpp"

#include <torch/torch.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <limits>
#include <vector>

using namespace bliss;

TEST_CASE("operations on whole tensors, as on a GPU, add the same integers as the host's loop") {
    torch::manual_seed(3);
    constexpr std::int64_t size = 5000;
    for (const int bits : {40, 24}) {
        ExactSums loop{size, bits};
        at::Tensor integers = torch::zeros({size}, torch::kLong);
        for (int k = 0; k < 5; ++k) {
            const at::Tensor terms = torch::randn({size}) * std::pow(10.0f, static_cast<float>(k - 6));
            REQUIRE(loop.add({terms.data_ptr<float>(), size}));
            REQUIRE(training::add_exactly(integers, terms, bits));
        }
        CHECK(std::ranges::equal(loop.integers(), std::span{integers.data_ptr<std::int64_t>(), size}));
    }
}

TEST_CASE("gradients that are not finite or out of range are not added") {
    at::Tensor integers = torch::zeros({3}, torch::kLong);
    ExactSums loop{3, 40};
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 8192.0f, -1e30f}) {
        const at::Tensor terms = torch::tensor({1.0f, bad, 2.0f});
        CHECK_FALSE(training::add_exactly(integers, terms, 40));
        CHECK_FALSE(loop.add({terms.data_ptr<float>(), 3}));
    }
    CHECK(integers.abs().max().item<std::int64_t>() == 0);
    CHECK(training::add_exactly(integers, torch::tensor({8191.0f, -8191.0f, 0.0f}), 40));
}

TEST_CASE("sums of several threads' sums are read as floats") {
    training::GradientSums a{2, 40, torch::kCPU}, b{2, 40, torch::kCPU}, total{2, 40, torch::kCPU};
    REQUIRE(a.add(torch::tensor({1.5f, -2.0f})));
    REQUIRE(b.add(torch::tensor({0.25f, 2.0f})));
    total.sum_of({&a, &b});
    CHECK(torch::equal(total.read(), torch::tensor({1.75f, 0.0f})));
    total.sum_of({&b});
    CHECK(torch::equal(total.read(), torch::tensor({0.25f, 2.0f})));
}
