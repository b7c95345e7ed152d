#include "bliss/training/muon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <torch/torch.h>

using bliss::training::orthogonalized;
using bliss::training::orthogonalized_together;

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

TEST_CASE("matrices of several shapes together are the same up to rounding") {
    torch::manual_seed(6);
    const std::vector<at::Tensor> matrices{torch::randn({48, 432}), torch::randn({200, 60}), torch::randn({48, 432}),
                                           torch::zeros({50, 50}), torch::randn({48, 432})};
    const std::vector<at::Tensor> together = orthogonalized_together(matrices);
    REQUIRE(together.size() == matrices.size());
    for (std::size_t k = 0; k < matrices.size(); ++k) CHECK(torch::allclose(together[k], orthogonalized(matrices[k]), 1e-3, 1e-4));
    CHECK(orthogonalized_together({}).empty());
}
