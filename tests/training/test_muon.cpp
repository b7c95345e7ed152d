#include "bliss/training/muon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <torch/torch.h>

using bliss::training::orthogonalized;

TEST_CASE("a matrix keeps its singular vectors, and its singular values come near 1") {
    torch::manual_seed(4);
    const std::vector<std::int64_t> shapes[] = {{48, 48}, {48, 432}, {200, 60}};
    for (const auto& shape : shapes) {
        const at::Tensor matrix = torch::randn(shape);
        const at::Tensor out = orthogonalized(matrix);
        REQUIRE(out.sizes() == matrix.sizes());
        const auto [u, s, vh] = at::linalg_svd(matrix, false);
        // In the basis of its singular vectors the result is diagonal.
        const at::Tensor inside = torch::mm(torch::mm(u.t(), out), vh.t());
        const at::Tensor values = inside.diagonal();
        CHECK((inside - torch::diag(values)).abs().max().item<double>() < 1e-3);
        // Five steps bring all above a hundredth of the norm into the range that the quintic maps to itself.
        const at::Tensor reached = values.masked_select(s > 0.01 * matrix.norm());
        CHECK(reached.numel() > 40);
        CHECK(reached.min().item<double>() > 0.65);
        CHECK(reached.max().item<double>() < 1.22);
    }
    CHECK(orthogonalized(torch::zeros({48, 60})).abs().max().item<double>() == 0);
}
